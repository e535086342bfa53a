// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

// Package shown knows what numbers the OpenTelemetry SDK can show.
package shown

import "math"

// Largest is the largest int64 that the SDK shows as it is: it computes in float64 (sdk/metric/internal/aggregate,
// atomicCounter), where what is larger would round to 2^63 and turn negative. Above 2^53 it rounds.
const Largest = math.MaxInt64 - 1023
