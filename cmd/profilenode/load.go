package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// loadConfig puts a configuration together: flags over environment over file over defaults. It reports every fault at
// once. warnings names variables that look like ours and are not.
func loadConfig(path string, flags *pflag.FlagSet, p process) (c Config, warnings []string, err error) {
	c = DefaultConfig()
	var faults []error
	if path != "" {
		faults = append(faults, readConfigFile(&c, path)...)
	}
	for _, s := range allSettings() {
		if text, ok := p.lookupVariable(s.variableName()); ok {
			if err := s.set(&c, text); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", s.variableName(), err))
			}
		}
		if flag := flags.Lookup(s.name); flag != nil && flag.Changed {
			if err := s.set(&c, flag.Value.String()); err != nil {
				faults = append(faults, fmt.Errorf("--%w", err))
			}
		}
	}
	faults = append(faults, c.validate()...)
	if len(faults) == 0 {
		if err := c.clusterConfig().Validate(); err != nil {
			faults = append(faults, err)
		}
	}
	return c, unknownVariables(p.environ), errors.Join(faults...)
}

// readConfigFile applies a file's settings. Keys that are no setting, and keys that come twice, are faults: a misspelt one
// would else be a setting that silently does nothing.
func readConfigFile(c *Config, path string) (faults []error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return []error{fmt.Errorf("read configuration: %w", err)}
	}
	fault := func(line int, err error) { faults = append(faults, fmt.Errorf("%s line %d: %w", path, line, err)) }

	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var document, another yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil // empty: all defaults
	} else if err != nil {
		return []error{fmt.Errorf("%s is not YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if err := decoder.Decode(&another); !errors.Is(err, io.EOF) {
		return []error{fmt.Errorf("%s holds more than one document: keep one", path)}
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Tag == "!!null" {
			return nil // only comments
		}
		return []error{fmt.Errorf("%s line %d: want lines of the form name: value", path, root.Line)}
	}
	all, seen := allSettings(), make(map[string]bool)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		at := slices.IndexFunc(all, func(s setting) bool { return s.name == key.Value })
		switch {
		case at < 0:
			fault(key.Line, fmt.Errorf("unknown key %q: profilenode serve --print-sample shows every key", key.Value))
			continue
		case seen[key.Value]:
			fault(key.Line, fmt.Errorf("key %q comes twice: keep one", key.Value))
			continue
		}
		seen[key.Value] = true
		text, err := yamlPlainText(value)
		if err != nil {
			fault(value.Line, fmt.Errorf("%s: %w", key.Value, err))
			continue
		}
		if err := all[at].set(c, text); err != nil {
			fault(value.Line, err)
		}
	}
	return faults
}

// yamlPlainText is a value as it would stand on the command line.
func yamlPlainText(value *yaml.Node) (string, error) {
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return "", nil
		}
		return value.Value, nil
	case yaml.SequenceNode:
		var parts []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("want a list of plain values")
			}
			parts = append(parts, item.Value)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("want a plain value or a list of them")
}

// unknownVariables finds misspelt variables. They are no faults: Kubernetes puts PROFILENODE_PORT and
// PROFILENODE_SERVICE_HOST into every container beside a service of our name.
func unknownVariables(environ []string) (unknown []string) {
	known := map[string]bool{configVariable: true, addrVariable: true, timeoutVariable: true}
	for _, s := range allSettings() {
		known[s.variableName()] = true
	}
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		ours := strings.HasPrefix(name, variablePrefix)
		linked := strings.HasPrefix(name, variablePrefix+"PORT") || strings.Contains(name, "_SERVICE_")
		if ours && !linked && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
