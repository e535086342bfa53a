// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package tallyconsole is the Collector extension `tally_console`: it answers queries about the totals of a store over
// HTTP, shows them to Prometheus, and draws them on a live page.
//
// A sampler, which is the only one to ask the store, makes a snapshot of its totals from time to time. Everything else
// reads the newest snapshot, which does not change, so whoever counts never waits for whoever looks.
package tallyconsole
