// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package needs

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// verdict is a test that is told how to end.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper()                       {}
func (v *verdict) Skipf(format string, _ ...any) { v.skipped = format }
func (v *verdict) Fatalf(format string, _ ...any) {
	v.failed = format
	panic(v) // as runtime.Goexit, which would end this test
}

func TestProgram(t *testing.T) {
	t.Setenv(AllVariable, "")
	there := &verdict{TB: t}
	assert.NotEmpty(t, Program(there, "go"))
	assert.Empty(t, there.skipped)

	skipped := &verdict{TB: t}
	Program(skipped, "no-such-program")
	assert.Contains(t, skipped.skipped, "is missing")

	t.Setenv(AllVariable, "1")
	failed := &verdict{TB: t}
	assert.PanicsWithValue(t, failed, func() { Program(failed, "no-such-program") })
	assert.Empty(t, failed.skipped)
	assert.NotEmpty(t, Program(failed, "go"))
}
