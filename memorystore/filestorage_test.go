package memorystore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/logtally/tallyprocessor/internal/evidence"
	"github.com/logtally/tallyprocessor/memorystore/internal/state"
)

// withVersion changes the version of a blob and makes its checksum right again.
func withVersion(t *testing.T, blob []byte, version uint16) []byte {
	require.Equal(t, uint16(state.Version), binary.BigEndian.Uint16(blob[8:]))
	return changeVersion(blob, version)
}

func changeVersion(blob []byte, version uint16) []byte {
	blob = bytes.Clone(blob[:len(blob)-4])
	binary.BigEndian.PutUint16(blob[8:], version)
	return binary.BigEndian.AppendUint32(blob, crc32.Checksum(blob, crc32.MakeTable(crc32.Castagnoli)))
}

func fileStorage(t testing.TB, directory string, change ...func(*filestorage.Config)) component.Component {
	factory := filestorage.NewFactory()
	cfg := factory.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = directory
	for _, f := range change {
		f(cfg)
	}
	ext, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(t.Context(), componenttest.NewNopHost()))
	return ext
}

func TestFileStorageRestart(t *testing.T) {
	directory := t.TempDir()
	i := start(t, fileStorage(t, directory))
	countKeys(i, 2000, 7)
	want := i.totals(t)
	require.NoError(t, i.Shutdown(t.Context()))
	for range 3 {
		i = start(t, fileStorage(t, directory))
		assertSameTotals(t, want, i.totals(t))
		assert.Zero(t, i.damaged())
		i.store.Inc("key 1")
		want = i.totals(t)
		require.NoError(t, i.Shutdown(t.Context()))
	}
}

// TestFileStorageStress: concurrent counting over flushes and restarts loses and invents nothing.
func TestFileStorageStress(t *testing.T) {
	const restarts, writers, rounds, keys = 3, 4, 5000, 500
	directory := t.TempDir()
	for range restarts {
		i := start(t, fileStorage(t, directory), func(c *Config) { c.FlushInterval = time.Millisecond })
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
		require.NoError(t, i.Shutdown(t.Context()))
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
	assert.Zero(t, i.damaged())
	require.NoError(t, i.Shutdown(t.Context()))
}

// TestFault_storage_damaged_file: a state file with a wrong bit in a slot gives the right totals, or an error at Start, or
// damage that is told; never a wrong number in silence. Outside the slots it is bbolt that notices: it panics while it
// opens the file, at times in a goroutine of its own, which nobody can recover, so a test cannot have that.
func TestFault_storage_damaged_file(t *testing.T) {
	directory := t.TempDir()
	i := start(t, fileStorage(t, directory))
	for range 2 {
		countKeys(i, 50, 1)
		require.NoError(t, i.store.Flush(t.Context()))
	}
	want := i.values(t)
	require.NoError(t, i.Shutdown(t.Context()))
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
		switch err := damaged.Start(t.Context(), damaged.host); {
		case err != nil:
			outcomes["refused"]++
		case damaged.damaged() > 0:
			outcomes["told"]++
		default:
			outcomes["harmless"]++
			require.Equal(t, want, damaged.values(t), "change %d", n)
		}
		require.NoError(t, damaged.Shutdown(t.Context()))
	}
	t.Log(outcomes)
	assert.Greater(t, outcomes["told"], 20)
	evidence.Report(t, evidence.Figure{
		Rows: []int{41}, Claim: "a wrong bit in a slot of a real file: the right totals, a start error, or damage that is told",
		Rounds: 200, Unit: "bits", Fired: outcomes["told"] + outcomes["refused"], Note: fmt.Sprint(outcomes),
	})
}
