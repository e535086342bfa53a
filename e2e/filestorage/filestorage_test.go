// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package filestorage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/memorystore"
)

func TestRestart(t *testing.T) {
	directory := t.TempDir()
	i := start(t, fileStorage(t, directory))
	countKeys(i, 2000, 7)
	want := i.totals(t)
	i.stop(t)
	for range 3 {
		i = start(t, fileStorage(t, directory))
		assertSameTotals(t, want, i.totals(t))
		assert.Zero(t, i.damaged(t))
		i.store.Inc("key 1")
		want = i.totals(t)
		i.stop(t)
	}
}

// TestStress: concurrent counting over flushes and restarts loses and invents nothing.
func TestStress(t *testing.T) {
	const restarts, writers, rounds, keys = 3, 4, 5000, 500
	directory := t.TempDir()
	for range restarts {
		i := start(t, fileStorage(t, directory), func(c *memorystore.Config) { c.FlushInterval = time.Millisecond })
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for n := range rounds {
					i.store.Add(fmt.Sprintf("key %d", (n*7+w)%keys), 1+n%3)
					if n%1000 == 0 {
						assert.NoError(t, i.store.Flush(t.Context()))
					}
				}
			})
		}
		wg.Wait()
		i.stop(t)
	}
	sum, perRun := 0, 0
	for n := range rounds {
		perRun += 1 + n%3
	}
	i := start(t, fileStorage(t, directory))
	for _, value := range i.values(t) {
		sum += value
	}
	assert.Equal(t, restarts*writers*perRun, sum)
	assert.Len(t, i.values(t), keys)
	assert.Zero(t, i.damaged(t))
	i.stop(t)
}

// TestFault_storage_damaged_file: a state file with a wrong bit in a slot gives the right totals, or an error at Start,
// or damage that is told; never a wrong number in silence. Outside the slots it is bbolt that notices: it panics while
// it opens the file, at times in a goroutine of its own, which nobody can recover, so a test cannot have that.
func TestFault_storage_damaged_file(t *testing.T) {
	directory := t.TempDir()
	i := start(t, fileStorage(t, directory))
	for range 2 {
		countKeys(i, 50, 1)
		require.NoError(t, i.store.Flush(t.Context()))
	}
	want := i.values(t)
	i.stop(t)
	files, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Len(t, files, 1)
	name := files[0].Name()
	data, err := os.ReadFile(filepath.Join(directory, name))
	require.NoError(t, err)

	random := rand.New(rand.NewPCG(1, 2))
	var slots []int // where they begin
	for at := range data {
		if bytes.HasPrefix(data[at:], []byte("\x89tally\r\n")) {
			slots = append(slots, at)
		}
	}
	require.NotEmpty(t, slots)
	outcomes := map[string]int{}
	for n := range 200 {
		bad := bytes.Clone(data)
		bad[slots[random.IntN(len(slots))]+random.IntN(64)] ^= 1 << random.IntN(8)
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), bad, 0o600))
		damaged := newInstance(t, fileStorage(t, folder))
		switch err := damaged.start(); {
		case err != nil:
			outcomes["refused"]++
		case damaged.damaged(t) > 0:
			outcomes["told"]++
		default:
			outcomes["harmless"]++
			require.Equal(t, want, damaged.values(t), "change %d", n)
		}
		damaged.stop(t)
	}
	t.Log(outcomes)
	assert.Greater(t, outcomes["told"], 20)
	evidence.Report(t, evidence.Figure{
		Rows: []int{41}, Claim: "a wrong bit in a slot of a real file: the right totals, a start error, or damage that is told",
		Rounds: 200, Unit: "bits", Fired: outcomes["told"] + outcomes["refused"], Note: fmt.Sprint(outcomes),
	})
}
