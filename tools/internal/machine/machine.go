// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package machine finds out what a report's figures were measured on.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Facts are those of a machine, and of the working copy that was measured.
type Facts struct {
	CPU    string
	CPUs   int
	Memory string
	Kernel string
	Go     string
	Commit string // short; with a + behind it when files differ from it
}

// Describe returns the facts of this machine and of the working copy that a folder is in.
func Describe(folder string) (Facts, error) {
	f := Facts{CPUs: runtime.NumCPU()}
	for _, fact := range []struct {
		into *string
		get  func() (string, error)
	}{
		{&f.CPU, func() (string, error) { return procField("/proc/cpuinfo", "model name") }},
		{&f.Memory, memory},
		{&f.Kernel, kernel},
		{&f.Go, func() (string, error) { return Output(folder, "go", "env", "GOVERSION") }},
		{&f.Commit, func() (string, error) { return commit(folder) }},
	} {
		var err error
		if *fact.into, err = fact.get(); err != nil {
			return Facts{}, fmt.Errorf("describe the machine: %w", err)
		}
	}
	return f, nil
}

// commit returns the commit of the working copy. Documents may differ from it: they are what reports are.
func commit(folder string) (string, error) {
	hash, err := Output(folder, "git", "rev-parse", "--short", "HEAD")
	if err != nil {
		return "", err
	}
	changed, err := Output(folder, "git", "status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude)docs")
	if err == nil && changed != "" {
		hash += "+"
	}
	return hash, err
}

// memory returns how much memory there is.
func memory() (string, error) {
	text, err := procField("/proc/meminfo", "MemTotal")
	if err != nil {
		return "", err
	}
	kB, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		return "", fmt.Errorf("read the size of the memory: %w", err)
	}
	return fmt.Sprintf("%.1f GiB", kB/(1<<20)), nil
}

// kernel returns the name and the release of the kernel.
func kernel() (string, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	return "Linux " + strings.TrimSpace(string(release)), nil
}

// procField returns a field of a file that has lines of the form `name : value`.
func procField(path, name string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %q", path, name)
}

// Output returns what a command prints that runs in a folder.
func Output(folder, name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	command.Dir = folder
	var stderr strings.Builder
	command.Stderr = &stderr
	text, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(text)), nil
}
