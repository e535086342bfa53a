// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// witness is a test that notes what Report does with it.
type witness struct {
	testing.TB
	failed   bool
	skipped  bool
	cleanups []func()
}

func (w *witness) Errorf(string, ...any) { w.failed = true }
func (w *witness) Skipped() bool         { return w.skipped }
func (w *witness) Failed() bool          { return w.failed }
func (w *witness) Cleanup(f func())      { w.cleanups = append(w.cleanups, f) }

func (w *witness) end() {
	for _, f := range w.cleanups {
		f()
	}
}

func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evidence")
	t.Setenv(FileVariable, path)
	t.Setenv(CommitVariable, "1234567")
	for _, tt := range []struct {
		figure Figure
		failed bool
	}{
		{Figure{Claim: "good", Rounds: 3, Fired: 1, Rows: []int{7}}, false},
		{Figure{Claim: "the fault never happened", Rounds: 3}, true},
		{Figure{Claim: "lost", Rounds: 3, Fired: 3, Lost: 1}, true},
		{Figure{Claim: "lost, as expected", Rounds: 3, Fired: 3, Lost: 1, Loses: true}, false},
		{Figure{Claim: "extra", Rounds: 3, Fired: 3, Extra: 1, Loses: true}, true},
	} {
		w := &witness{TB: t}
		Report(w, tt.figure)
		assert.Equal(t, tt.failed, w.failed, tt.figure.Claim)
		w.end()
	}
	failsLater := &witness{TB: t}
	Report(failsLater, Figure{Claim: "fails later", Rounds: 1, Fired: 1})
	failsLater.failed = true
	failsLater.end()

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var failed []string
	for line := range strings.Lines(string(text)) {
		var e Entry
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		assert.Equal(t, "TestReport", e.Test)
		assert.Equal(t, "github.com/logtally/tallyprocessor/internal/evidence", e.Package)
		assert.Equal(t, "1234567", e.Commit)
		assert.WithinDuration(t, time.Now(), e.Began, time.Hour)
		if e.Failed {
			failed = append(failed, e.Claim)
		}
	}
	assert.Equal(t, []string{"the fault never happened", "lost", "extra", "fails later"}, failed)
}

// What a test defers says nothing of a test that is skipped.
func TestReportOfASkippedTest(t *testing.T) {
	w := &witness{TB: t, skipped: true}
	Report(w, Figure{Claim: "nothing has happened"})
	assert.False(t, w.failed)
	assert.Empty(t, w.cleanups)
}

func TestSeed(t *testing.T) {
	t.Setenv(SeedVariable, "")
	first := Seed(t)
	assert.NotEqual(t, first, Seed(t))
	t.Setenv(SeedVariable, "42")
	assert.EqualValues(t, 42, Seed(t))
	assert.Equal(t, Random(42).Uint64(), Random(Seed(t)).Uint64())
}

func TestRounds(t *testing.T) {
	t.Setenv(LongVariable, "")
	assert.Equal(t, 1, Rounds(1, 2))
	t.Setenv(LongVariable, "1")
	assert.Equal(t, 2, Rounds(1, 2))
}
