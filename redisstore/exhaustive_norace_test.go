// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package redisstore

// lessDeep is how much less deep the search goes.
const lessDeep = 0
