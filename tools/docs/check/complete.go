// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// bare are components with all that they cannot do without.
var bare = map[string]map[string]any{
	"otlp":                    {"protocols": map[string]any{"grpc": nil}},
	"otlp_grpc":               {"endpoint": "localhost:4317"},
	"otlp_http":               {"endpoint": "http://localhost:4318"},
	"otlphttp":                {"endpoint": "http://localhost:4318"},
	"file_log":                {"include": []any{"/dev/null"}},
	"filelog":                 {"include": []any{"/dev/null"}},
	"file":                    {"path": "/dev/null"},
	"prometheus":              {"endpoint": "localhost:9464"},
	"prometheus_remote_write": {"endpoint": "http://localhost:9090/api/v1/write"},
	"prometheusremotewrite":   {"endpoint": "http://localhost:9090/api/v1/write"},
	"memory_limiter":          {"check_interval": "1s", "limit_mib": 100},
}

// complete returns a configuration with all that a page leaves out: components that are only named, a pipeline, and the
// options that a component cannot do without.
func (s *site) complete(config map[string]any, kinds kinds) (map[string]any, error) {
	if config == nil {
		return nil, errNoPart
	}
	config = maps.Clone(config)
	for _, section := range sections {
		config[section] = maps.Clone(asMap(config[section]))
	}
	addPipelines(config)
	if err := addNamed(config, kinds); err != nil {
		return nil, err
	}
	for _, section := range sections {
		for id, body := range asMap(config[section]) {
			if section != "service" {
				asMap(config[section])[id] = s.completeBody(section, id, body)
			}
		}
	}
	return config, nil
}

func asMap(value any) map[string]any {
	if m, ok := value.(map[string]any); ok && m != nil {
		return m
	}
	return map[string]any{}
}

// addPipelines adds pipelines with all connectors where there are none.
func addPipelines(config map[string]any) {
	service := asMap(config["service"])
	config["service"] = service
	if service["pipelines"] != nil {
		return
	}
	exporters := []any{"nop"}
	pipelines := map[string]any{}
	connectors := slices.Sorted(maps.Keys(asMap(config["connectors"])))
	for _, id := range connectors {
		exporters = append(exporters, id)
		pipelines["metrics"] = map[string]any{"receivers": toAny(connectors), "exporters": []any{"nop"}}
	}
	pipelines["logs"] = map[string]any{
		"receivers": []any{"otlp"}, "processors": toAny(slices.Sorted(maps.Keys(asMap(config["processors"])))), "exporters": exporters,
	}
	service["pipelines"] = pipelines
}

func toAny(list []string) (made []any) {
	for _, item := range list {
		made = append(made, item)
	}
	return made
}

// addNamed adds the components that pipelines name and nothing configures.
func addNamed(config map[string]any, kinds kinds) error {
	for _, pipeline := range asMap(asMap(config["service"])["pipelines"]) {
		for role, ids := range asMap(pipeline) {
			list, _ := ids.([]any)
			for _, id := range list {
				if err := addComponent(config, role, fmt.Sprint(id), kinds); err != nil {
					return err
				}
			}
		}
	}
	extensions, _ := asMap(config["service"])["extensions"].([]any)
	for _, id := range extensions {
		if err := addComponent(config, "extensions", fmt.Sprint(id), kinds); err != nil {
			return err
		}
	}
	return nil
}

// addComponent adds a component unless it is there, in its section or as a connector.
func addComponent(config map[string]any, section, id string, kinds kinds) error {
	_, isThere := asMap(config[section])[id]
	_, isConnector := asMap(config["connectors"])[id]
	switch {
	case isThere || isConnector && section != "processors":
	case !kinds.has(section, id):
		return fmt.Errorf("%q is not among the %s of the built Collector", id, section)
	default:
		asMap(config[section])[id] = nil
	}
	return nil
}

// completeBody adds what a component cannot do without.
func (s *site) completeBody(section, id string, body any) any {
	if body != nil {
		if _, ok := body.(map[string]any); !ok {
			return body // invalid
		}
	}
	made := maps.Clone(asMap(body))
	name, _, _ := strings.Cut(id, "/")
	if len(made) == 0 {
		maps.Copy(made, bare[name])
	}
	if name == "file_storage" {
		made["create_directory"] = true
		made["directory"] = s.scratch
		if made["compaction"] != nil {
			made["compaction"] = nil
		}
	}
	for _, c := range s.components {
		if c.Section == section && c.ID == name {
			for key, value := range c.Needs {
				if made[key] == nil {
					made[key] = value
				}
			}
		}
	}
	return made
}
