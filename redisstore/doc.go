// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package redisstore is the Collector extension `tally_redis`: one set of totals for any number of Collectors, kept in
// Redis or Valkey: one server, Sentinel, or Cluster.
//
// Counting touches only the memory of the process. Every flush interval what has changed goes to the server, as what
// this process has contributed to each total since it started, and not as what to add: so whatever the network, the
// client or a failover does with a flush, it is added once.
//
// The parts, from the counting to the server: local counts, a slot for each shard says what to send and takes the
// answers (serial, without I/O), a writer sends, and a reader lists. The server's part are scripts: flush.lua,
// forget.lua and ask.lua for idle keys, and leave.lua for the end; protocol.go says what it keeps.
package redisstore
