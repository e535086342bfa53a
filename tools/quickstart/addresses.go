// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// Where a Collector listens when its configuration does not say.
const (
	defaultConsole   = "localhost:13690"
	defaultTelemetry = "localhost:8888"
)

// section is a part of a configuration.
type section map[string]any

// sub returns the section below some keys; nil = there is none.
func (s section) sub(keys ...string) section {
	for _, key := range keys {
		s, _ = s[key].(section)
	}
	return s
}

func readConfig(path string) (section, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config section
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return config, nil
}

// addresses returns where the Collector will listen, by the path of the option that says so.
func addresses(config section) map[string]string {
	found := map[string]string{}
	for _, kind := range []string{"receivers", "extensions"} {
		endpoints(found, kind, config.sub(kind))
	}
	metrics := config.sub("service", "telemetry", "metrics")
	if metrics["level"] != "none" && metrics["readers"] == nil {
		found["service::telemetry::metrics"] = defaultTelemetry
	}
	if path, address, ok := console(config); ok {
		found[path] = address
	}
	return found
}

// endpoints adds each `endpoint` with a port below a section.
func endpoints(found map[string]string, path string, s section) {
	for key, value := range s {
		at := path + "::" + key
		switch value := value.(type) {
		case section:
			endpoints(found, at, value)
		case string:
			if _, _, err := net.SplitHostPort(value); key == "endpoint" && err == nil {
				found[at] = value
			}
		}
	}
}

// console returns the address of the first console that the Collector starts, and the path of the option.
func console(config section) (path, address string, ok bool) {
	list, _ := config.sub("service")["extensions"].([]any)
	for _, item := range list {
		id, _ := item.(string)
		if name, _, _ := strings.Cut(id, "/"); name != "tally_console" {
			continue
		}
		if address, ok = config.sub("extensions", id)["endpoint"].(string); !ok {
			address = defaultConsole
		}
		return "extensions::" + id + "::endpoint", address, true
	}
	return "", "", false
}

// consoleURL returns where the console of a configuration will answer.
func consoleURL(path string, config section) (string, error) {
	option, address, ok := console(config)
	if !ok {
		return "", fmt.Errorf("%s has no tally_console in `service::extensions`: its totals are what quickstart prints", path)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.Contains(address, "${") {
		return "", fmt.Errorf("`%s` in %s is %q, no host:port: pass the console's address as -console", option, path, address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// checkFree returns which addresses another process has. What else may be wrong with one is for the Collector to say.
func checkFree(path string, addresses map[string]string) error {
	var errs []error
	for _, option := range slices.Sorted(maps.Keys(addresses)) {
		listener, err := net.Listen("tcp", addresses[option])
		switch {
		case err == nil:
			_ = listener.Close() // nobody has connected
		case errors.Is(err, syscall.EADDRINUSE):
			errs = append(errs, fmt.Errorf("%s is in use by another process: end that, or set another address at `%s` in %s", addresses[option], option, path))
		}
	}
	return errors.Join(errs...)
}
