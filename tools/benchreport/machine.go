package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// machine is what the benchmarks ran on and with.
type machine struct {
	CPU     string
	CPUs    int
	Memory  string
	Kernel  string
	Go      string
	Commit  string
	Modules []module
}

// module is one whose version the figures depend on.
type module struct {
	Path, Version string
}

const contrib = "github.com/open-telemetry/opentelemetry-collector-contrib/connector/"

// modules are those that are named in the report.
var modules = []string{
	"go.opentelemetry.io/collector/pdata",
	contrib + "countconnector",
	contrib + "signaltometricsconnector",
}

// describeMachine returns the facts of this machine and of what the folder of the benchmarks uses.
func describeMachine(bench string) (machine, error) {
	m := machine{CPUs: runtime.NumCPU()}
	for _, fact := range []struct {
		into *string
		get  func() (string, error)
	}{
		{&m.CPU, func() (string, error) { return procField("/proc/cpuinfo", "model name") }},
		{&m.Memory, memory},
		{&m.Kernel, kernel},
		{&m.Go, func() (string, error) { return output(bench, "go", "env", "GOVERSION") }},
		{&m.Commit, func() (string, error) { return output(bench, "git", "rev-parse", "--short", "HEAD") }},
	} {
		var err error
		if *fact.into, err = fact.get(); err != nil {
			return machine{}, fmt.Errorf("describe the machine: %w", err)
		}
	}
	var err error
	if m.Modules, err = moduleVersions(bench); err != nil {
		return machine{}, fmt.Errorf("describe the machine: %w", err)
	}
	return m, nil
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

// moduleVersions returns the versions that the module in a folder uses.
func moduleVersions(folder string) ([]module, error) {
	args := append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, modules...)
	text, err := output(folder, "go", args...)
	if err != nil {
		return nil, err
	}
	var list []module
	for line := range strings.Lines(text) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		list = append(list, module{path, version})
	}
	return list, nil
}

// output returns what a command prints that runs in a folder.
func output(folder, name string, args ...string) (string, error) {
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
