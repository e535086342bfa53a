// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// own is the path of the project's module; what is below it is the project too.
const own = "github.com/logtally/tallyprocessor"

// locate returns the modules that a binary was linked from, with the folders of the module cache they are in. folder is
// that of its go.mod.
func locate(info *debug.BuildInfo, folder string) ([]module, error) {
	args := []string{"list", "-mod=readonly", "-m", "-json=Path,Version,Dir,Replace"}
	for _, dep := range info.Deps {
		args = append(args, dep.Path)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = folder
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the modules of the distribution: %w: %s", err, &stderr)
	}
	modules := []module{{Path: "std", Version: runtime.Version(), Dir: goroot(folder)}}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct {
			module
			Replace *module
		}
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return modules, nil
		case err != nil:
			return nil, fmt.Errorf("find the modules of the distribution: %w", err)
		}
		if m.Replace != nil && m.Path != own {
			m.module = *m.Replace
		}
		if m.Dir == "" {
			return nil, fmt.Errorf("module %s %s is not in the module cache: build the distribution first", m.Path, m.Version)
		}
		modules = append(modules, m.module)
	}
}

func goroot(folder string) string {
	cmd := exec.Command("go", "env", "GOROOT")
	cmd.Dir = folder
	out, _ := cmd.Output() // without it no license is found there, which is told
	return strings.TrimSpace(string(out))
}
