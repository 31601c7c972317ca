package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker (-X main.linkedVersion=1.2.3) where the build has no version control to read, as for an image.
var linkedVersion, linkedCommit string

func versionCommand(p process) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		Args:  cobra.NoArgs,
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.RunE = runAct(func(context.Context, []string) error {
		if asJSON {
			return printObject(p.out, struct {
				Version  string `json:"version"`
				Commit   string `json:"commit"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{buildVersion(), buildCommit(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
		}
		_, err := fmt.Fprintf(p.out, "profilenode %s\n", versionLine())
		return err
	})
	return command
}

// versionLine is everything that tells this build from another.
func versionLine() string {
	return fmt.Sprintf("%s (commit %s, %s, %s/%s)", buildVersion(), buildCommit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildCommit is the commit of this build, marked when its tree held uncommitted changes.
func buildCommit() string {
	if linkedCommit != "" {
		return linkedCommit
	}
	revision, changed := "unknown", false
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				revision = setting.Value[:min(len(setting.Value), 12)]
			case "vcs.modified":
				changed = setting.Value == "true"
			}
		}
	}
	if changed {
		revision += ", changed"
	}
	return revision
}

// buildVersion is the version of this build: the module's tag, or a pseudo-version of the commit.
func buildVersion() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
