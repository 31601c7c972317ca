// Package config holds the configuration file that lists every setting of a node at its default, with the reason to change it. The program
// prints it (profilenode serve --print-sample), and its tests hold it against the settings.
package config

import _ "embed"

// Sample is node.yaml.
//
//go:embed node.yaml
var Sample string
