// Package saturating adds without overflow.
package saturating

import "math"

// Add returns the sum of two numbers that are not negative, at most the largest int64, and whether there was room for all of it.
func Add(a, b int64) (sum int64, fits bool) {
	if sum = a + b; sum < 0 {
		return math.MaxInt64, false
	}
	return sum, true
}
