// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench holds tally against its peers, the connectors `count` and `signal_to_metrics`: the same results where
// those are right, and exact ones where they are not. It is a module of its own, so that nobody who uses tally gets
// them.
package bench
