package main

import (
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hiddenValue stands where a secret is set. It is no key, so a file that was printed and not filled in is refused.
const hiddenValue = "(hidden)"

// printConfig writes every setting of c as a configuration file. Secrets that are set are hidden.
func printConfig(w io.Writer, c Config) error {
	document := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range allSettings() {
		document.Content = append(document.Content, textNode(s.name), settingNode(s, c))
	}
	encoded, err := yaml.Marshal(document)
	if err != nil {
		return err
	}
	_, err = w.Write(encoded)
	return err
}

func settingNode(s setting, c Config) *yaml.Node {
	text := s.get(&c)
	switch {
	case s.secret && text != "":
		return textNode(hiddenValue)
	case s.shape == "": // true or false
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: text}
	case strings.HasSuffix(s.shape, ",..."):
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, part := range splitCommaList(text) {
			list.Content = append(list.Content, textNode(part))
		}
		return list
	}
	return textNode(text)
}

// textNode is a text; YAML quotes it where it would read as something else.
func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}
