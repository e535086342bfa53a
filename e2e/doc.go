// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests dist/otelcol-tally, the Collector that ocb builds, as its users see it: started with a YAML file,
// fed with log files and OTLP, read at /metrics, ended with SIGTERM. It holds tests only.
package e2e
