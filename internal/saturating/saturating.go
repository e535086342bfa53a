// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package saturating adds counts that stay at the largest number instead of wrapping.
package saturating

import "math"

// Add adds two numbers that are not negative. A sum that N cannot hold is the largest N, and fits is false.
func Add[N int | int64](a, b N) (sum N, fits bool) {
	if sum = a + b; sum >= 0 {
		return sum, true
	}
	most := int64(math.MaxInt64)
	return max(math.MaxInt, N(most)), false // where an int has 32 bits, N(most) may be -1
}
