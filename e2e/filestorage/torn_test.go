// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package filestorage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logtally/tallyprocessor/internal/evidence"
)

// TestFault_storage_torn_file: a flush is cut after each byte that it changes in a real file of file_storage, as a
// crash cuts it: what bbolt writes before is there, what it writes later is not. The totals are those before the flush
// or those after it, and the store goes on from them.
func TestFault_storage_torn_file(t *testing.T) {
	step := evidence.Rounds(97, 1) // bytes from one cut to the next
	directory := t.TempDir()
	images := newImager(t, directory)
	i := start(t, images)
	countKeys(i, 300, 1)
	require.NoError(t, i.store.Flush(t.Context()))
	before := i.values(t)
	images.taken = [][]byte{images.image()}
	i.store.Add("key 7", 5)
	i.store.Add("a new key", 1)
	require.NoError(t, i.store.Flush(t.Context()))
	after := i.values(t)
	require.Greater(t, len(images.taken), 1)
	i.stop(t)

	cuts, halves := 0, map[string]int{}
	for n, whole := range images.taken[1:] {
		file := bytes.Clone(images.taken[n])
		file = append(file, make([]byte, max(0, len(whole)-len(file)))...) // the file grows first
		changed := 0
		for _, at := range changes(file, whole) {
			file[at] = whole[at]
			if changed++; changed%step != 0 {
				continue
			}
			cuts++
			t.Run("", func(t *testing.T) { // its own, so that what it leaves goes with it
				halves[opensWith(t, images.name(), file, before, after)]++
			})
		}
		require.Equal(t, whole, file, "all changes are made")
	}
	require.Equal(t, "after", opensWith(t, images.name(), images.taken[len(images.taken)-1], before, after))
	require.Positive(t, halves["before"])
	evidence.Report(t, evidence.Figure{
		Rows: []int{40}, Claim: "a flush is cut after each byte that it changes in a real file: the totals before it, or those after it",
		Rounds: cuts, Unit: "cuts", Fired: cuts,
		Note: fmt.Sprintf("%d transactions; each %d. byte; %v", len(images.taken)-1, step, halves),
	})
}

// changes returns where two images differ, in the order in which bbolt writes: its pages, and then the one of the two
// meta pages (0 and 1) that makes the others valid.
func changes(old, now []byte) (at []int) {
	metas := 2 * os.Getpagesize()
	for _, part := range [][2]int{{metas, len(now)}, {0, metas}} {
		for n := part[0]; n < part[1]; n++ {
			if old[n] != now[n] {
				at = append(at, n)
			}
		}
	}
	return at
}

// opensWith starts a store over a file, says whether its totals are those of before or after, and lets it count on.
func opensWith(t *testing.T, name string, file []byte, before, after map[string]int) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, name), file, 0o600))
	defer os.RemoveAll(folder)
	i := start(t, fileStorage(t, folder))
	require.Zero(t, i.damaged(t))
	found := i.values(t)
	which := "after"
	if found["key 7"] == before["key 7"] {
		which = "before"
	}
	require.Equal(t, map[string]map[string]int{"before": before, "after": after}[which], found)
	i.store.Add("key 7", 2)
	i.stop(t)
	i = start(t, fileStorage(t, folder))
	found["key 7"] += 2
	require.Equal(t, found, i.values(t))
	i.stop(t)
	return which
}

// imager is file_storage that keeps an image of its file after each transaction.
type imager struct {
	component.Component
	directory string
	taken     [][]byte
}

func newImager(t *testing.T, directory string, change ...func(*filestorage.Config)) *imager {
	t.Helper()
	return &imager{Component: fileStorage(t, directory, change...), directory: directory}
}

func (s *imager) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	client, err := s.Component.(storage.Extension).GetClient(ctx, kind, id, name)
	return &imagerClient{client, s}, err
}

func (s *imager) name() string {
	names, err := filepath.Glob(filepath.Join(s.directory, "*"))
	if err != nil || len(names) != 1 {
		panic(fmt.Sprint(names, err))
	}
	return filepath.Base(names[0])
}

func (s *imager) image() []byte {
	data, err := os.ReadFile(filepath.Join(s.directory, s.name()))
	if err != nil {
		panic(err)
	}
	return data
}

type imagerClient struct {
	storage.Client
	images *imager
}

func (c *imagerClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	err := c.Client.Batch(ctx, ops...)
	c.images.taken = append(c.images.taken, c.images.image())
	return err
}
