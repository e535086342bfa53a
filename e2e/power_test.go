// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/internal/needs"
)

// TestFault_storage_power_loss: the power fails under load. The state is on a file system in an image; while the
// Collector is stopped the image is copied, without what the file system has only in memory. What is in the copy is
// what a machine finds when it comes up again. With `durable` and fsync nothing that was acknowledged is missing;
// without fsync it is, and that is shown too.
func TestFault_storage_power_loss(t *testing.T) {
	needsRoot(t)
	for _, fsync := range []bool{true, false} {
		t.Run(fmt.Sprintf("fsync=%t", fsync), func(t *testing.T) {
			rounds, seed := evidence.Rounds(3, 100), evidence.Seed(t)
			random := evidence.Random(seed)
			var counts, lost, extra int64
			losing, unusable := 0, 0
			for range rounds {
				disk := newDiskImage(t)
				r := newRig(t)
				r.directory, r.durable, r.fsync, r.flush = disk.mounted, true, fsync, time.Hour
				c := startCollector(t, "", r.config())
				ledgers := newLedgers(4)
				stop := clients(t, r.in, ledgers, 0)
				waitFor(t, "the first acknowledgements", func() bool { return ledgers[0].acknowledged.Load() > 0 })
				time.Sleep(time.Duration(50+random.IntN(300)) * time.Millisecond)
				require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
				// Answers that are on the way still are of counts that are on disk already.
				acknowledged := map[string]int64{}
				for _, l := range ledgers {
					acknowledged[l.who] = l.acknowledged.Load()
				}
				after := disk.copy(t)
				require.NoError(t, c.cmd.Process.Kill())
				<-c.exited
				stop()
				disk.unmount(t)

				totals, err := openState(t, after.mounted)
				after.unmount(t)
				if err != nil {
					unusable++
				}
				missing := int64(0)
				for _, l := range ledgers {
					counts += acknowledged[l.who]
					missing += max(0, acknowledged[l.who]-int64(totals[l.who]))
					extra += max(0, int64(totals[l.who]-r.next.of(l.who)))
				}
				if missing > 0 {
					losing++
				}
				lost += missing
			}
			figure := evidence.Figure{
				Rows: []int{42}, Seed: seed, Rounds: rounds, Unit: "power losses", Fired: rounds, Counts: counts, Lost: lost, Extra: extra,
				Claim: "`durable`, fsync true: a power loss under load loses nothing that was acknowledged",
				Note:  fmt.Sprintf("%d of %d rounds lost acknowledged counts, %d files could not be opened", losing, rounds, unusable),
			}
			if !fsync {
				figure.Claim, figure.Loses = "`durable`, fsync false (the default of `file_storage`): a power loss loses what was acknowledged", true
			} else {
				require.Zero(t, unusable)
			}
			evidence.Report(t, figure)
		})
	}
}

// diskImage is a file system in a file.
type diskImage struct{ image, mounted string }

func newDiskImage(t *testing.T) *diskImage {
	t.Helper()
	d := &diskImage{filepath.Join(t.TempDir(), "image"), t.TempDir()}
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, 32<<20))
	command(t, needs.Program(t, "mkfs.ext4"), "-q", "-F", d.image)
	d.mount(t)
	return d
}

func (d *diskImage) mount(t *testing.T) {
	t.Helper()
	command(t, "mount", "-o", "loop", d.image, d.mounted)
	// it was unmounted, unless the test has failed
	t.Cleanup(func() { _ = syscall.Unmount(d.mounted, syscall.MNT_DETACH) })
}

func (d *diskImage) unmount(t *testing.T) {
	t.Helper()
	command(t, "umount", d.mounted)
}

// copy returns a file system as it would be found after a power loss.
func (d *diskImage) copy(t *testing.T) *diskImage {
	t.Helper()
	c := &diskImage{filepath.Join(t.TempDir(), "image"), t.TempDir()}
	from, err := os.Open(d.image)
	require.NoError(t, err)
	defer from.Close()
	to, err := os.Create(c.image)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	c.mount(t)
	return c
}
