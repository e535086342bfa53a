// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// collector is the built Collector, which validates configurations.
type collector struct {
	binary  string
	folder  string // for its configurations
	present kinds
}

func newCollector(binary string) (*collector, error) {
	out, err := exec.Command(binary, "components").Output()
	if err != nil {
		return nil, fmt.Errorf("list the components of %s, which `make build` builds: %w", binary, err)
	}
	var listed map[string]any
	if err := yaml.Unmarshal(out, &listed); err != nil {
		return nil, err
	}
	c := &collector{binary: binary, present: kinds{}}
	for _, section := range sections {
		c.present[section] = map[string]bool{}
		components, _ := listed[section].([]any)
		for _, item := range components {
			c.present[section][fmt.Sprint(asMap(item)["name"])] = true
		}
	}
	c.folder, err = os.MkdirTemp("", "pages")
	return c, err
}

func (c *collector) close() error { return os.RemoveAll(c.folder) }

func (c *collector) kinds() kinds { return c.present }

var variable = regexp.MustCompile(`\$\{env:([A-Z0-9_]+)`)

// validate asks the Collector. Variables of the environment have a value.
func (c *collector) validate(config map[string]any) error {
	text, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	path := filepath.Join(c.folder, "config.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	cmd := exec.Command(c.binary, "validate", "--config", path)
	cmd.Env = os.Environ()
	for _, m := range variable.FindAllSubmatch(text, -1) {
		cmd.Env = append(cmd.Env, string(m[1])+"=value-of-a-variable-of-the-environment")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		_, message, _ := strings.Cut(string(out), "Error: ")
		return errors.New(strings.Join(strings.Fields(message), " "))
	}
	return nil
}
