// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package memorystore is the Collector extension `tally_memory`: one in-memory store that any number of processors,
// connectors, receivers and consoles share by its id, kept over restarts through a storage extension.
//
// With `storage` every key is in one of 256 buckets, and every bucket in two slots of the storage that are written in
// turn: a crash at any point of a write leaves the slot before it. The package state has the format.
package memorystore
