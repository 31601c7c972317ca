package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// defaultDevData is the folder unless another is named.
const defaultDevData = "profilenode-dev"

// markerName is the file that says that dev made a folder, and for which cluster.
const markerName = "profilenode-dev.json"

type devMarker struct {
	Nodes    int `json:"nodes"`
	BasePort int `json:"base_port"`
}

// planDevFolder decides how to prepare the folder, without touching it; prepare then does so. A folder that holds a cluster
// goes on with it: number and ports of its nodes are in its log, so they stay as they were.
func planDevFolder(o devOptions, fresh, nodesChosen, baseChosen bool) (_ devOptions, prepare func() error, err error) {
	marker, err := readDevMarker(o.data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		entries, err := os.ReadDir(o.data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return o, nil, fmt.Errorf("look into folder: %w", err)
		}
		if len(entries) > 0 {
			return o, nil, &hintedError{fmt.Errorf("%s is not empty and was not made by profilenode dev (no %s in it)", o.data, markerName),
				"name another folder with --data; dev touches none but its own"}
		}
		return o, o.createDevFolder, nil
	case err != nil:
		return o, nil, err
	case fresh:
		return o, func() error {
			if err := o.emptyDevFolder(marker); err != nil {
				return err
			}
			return o.createDevFolder()
		}, nil
	}
	if (nodesChosen && o.nodes != marker.Nodes) || (baseChosen && o.base != marker.BasePort) {
		return o, nil, &hintedError{fmt.Errorf("%s holds a cluster of %d nodes from port %d on", o.data, marker.Nodes, marker.BasePort),
			"leave --nodes and --base-port away, name another folder with --data, or empty this one with --fresh"}
	}
	o.nodes, o.base = marker.Nodes, marker.BasePort
	return o, func() error { return nil }, o.validate()
}

func readDevMarker(folder string) (devMarker, error) {
	path := filepath.Join(folder, markerName)
	text, err := os.ReadFile(path)
	if err != nil {
		return devMarker{}, fmt.Errorf("read %s: %w", markerName, err)
	}
	var marker devMarker
	if err := json.Unmarshal(text, &marker); err != nil {
		return marker, fmt.Errorf("%s is damaged: remove the folder %s by hand", path, folder)
	}
	return marker, nil
}

func (o devOptions) createDevFolder() error {
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	text, err := json.Marshal(devMarker{o.nodes, o.base})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.data, markerName), append(text, '\n'), 0o600)
}

// emptyDevFolder removes the files that dev made, and nothing else. The marker goes last: until then the folder is known as
// ours.
func (o devOptions) emptyDevFolder(marker devMarker) error {
	for node := 1; node <= max(marker.Nodes, o.nodes); node++ {
		if err := os.RemoveAll(filepath.Join(o.data, fmt.Sprintf("node%d", node))); err != nil {
			return fmt.Errorf("empty folder: %w", err)
		}
		if err := os.Remove(o.logFile(node)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("empty folder: %w", err)
		}
	}
	return os.Remove(filepath.Join(o.data, markerName))
}

func (o devOptions) logFile(node int) string {
	return filepath.Join(o.data, fmt.Sprintf("node%d.log", node))
}
