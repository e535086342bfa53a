// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/logtally/tallyprocessor/memorystore"
	"github.com/logtally/tallyprocessor/redisstore"
	"github.com/logtally/tallyprocessor/store"
)

// rig is a Collector that counts what it sends on to a server of the test, in a store that is kept in a folder.
type rig struct {
	in        int // port
	directory string
	next      *nextServer

	durable  bool
	fsync    bool
	flush    time.Duration
	redis    string // address of the server whose totals it counts in, instead of a file; empty = a file
	settings string // further ones of the processor, each on a line of its own, with four spaces before
	storage  string // further ones of file_storage, as `, key: value`
}

func newRig(t *testing.T) *rig {
	return &rig{in: freePort(t), directory: t.TempDir(), next: startNext(t), flush: 50 * time.Millisecond}
}

func (r *rig) config() string {
	store, settings := "tally_memory", fmt.Sprintf("storage: file_storage, flush_interval: %s", r.flush)
	if r.redis != "" {
		store, settings = "tally_redis", fmt.Sprintf("endpoints: [%q], tls: {insecure: true}, flush_interval: %s, heartbeat_interval: %s", r.redis, r.flush, r.flush)
	}
	return fmt.Sprintf(`
extensions:
  file_storage: {directory: %q, fsync: %t%s}
  %s: {%s}
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:%d}}}
processors:
  tally:
    store: %s
    durable: %t
    resource_attributes: []
    logs: {all: {attributes: [{key: %s}]}}
%s
exporters:
  otlp_http: {endpoint: %q, timeout: 2m, sending_queue: {enabled: false}, retry_on_failure: {enabled: false}, compression: none}
service:
  extensions: [file_storage, %s]
  pipelines:
    logs: {receivers: [otlp], processors: [tally], exporters: [otlp_http]}
`, r.directory, r.fsync, r.storage, store, settings, r.in, store, r.durable, sender, r.settings, r.next.URL, store)
}

// read returns the totals that a Collector has left behind, by sender.
func (r *rig) read(t *testing.T) map[string]int {
	t.Helper()
	if r.redis == "" {
		return readState(t, r.directory)
	}
	ctx := context.Background()
	factory := redisstore.NewFactory()
	cfg := factory.CreateDefaultConfig().(*redisstore.Config)
	cfg.Endpoints, cfg.TLS.Insecure = []string{r.redis}, true
	ext, err := factory.Create(ctx, extensiontest.NewNopSettings(factory.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, ext.Start(ctx, componenttest.NewNopHost()))
	defer func() { require.NoError(t, ext.Shutdown(ctx)) }()
	totals := map[string]int{}
	for total, err := range ext.(store.StoreExtension).MetricStore().(store.Lister).Totals(ctx) {
		require.NoError(t, err)
		totals[senderOf(t, total.Key)] = total.Value
	}
	return totals
}

// ledger is what a client knows of the records it has sent.
type ledger struct {
	who                     string
	attempted, acknowledged atomic.Int64
}

const batchSize = 10

// clients sends batches at once, each as its own sender, until stop is called, which waits for them.
func clients(t *testing.T, port int, ledgers []*ledger, pause time.Duration) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, l := range ledgers {
		body := marshal(t, logsWith(sender, repeated(l.who, batchSize)))
		wg.Go(func() {
			for ctx.Err() == nil {
				l.attempted.Add(batchSize)
				if post(port, body) {
					l.acknowledged.Add(batchSize)
				}
				if pause > 0 {
					time.Sleep(pause)
				}
			}
		})
	}
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// marshal returns logs as the body of a request.
func marshal(t *testing.T, logs plog.Logs) []byte {
	t.Helper()
	body, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	require.NoError(t, err)
	return body
}

func newLedgers(n int) []*ledger {
	ledgers := make([]*ledger, n)
	for i := range ledgers {
		ledgers[i] = &ledger{who: "client" + strconv.Itoa(i)}
	}
	return ledgers
}

func repeated(text string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = text
	}
	return list
}

// extensions is a host.
type extensions map[component.ID]component.Component

func (e extensions) GetExtensions() map[component.ID]component.Component { return e }

// readState returns the totals that a Collector has left behind in a folder, by sender.
func readState(t *testing.T, directory string) map[string]int {
	t.Helper()
	totals, err := openState(t, directory)
	require.NoError(t, err)
	return totals
}

func openState(t *testing.T, directory string) (map[string]int, error) {
	t.Helper()
	ctx := context.Background()
	files := filestorage.NewFactory()
	cfg := files.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory = directory
	storage, err := files.Create(ctx, extensiontest.NewNopSettings(files.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, storage.Start(ctx, componenttest.NewNopHost()))
	defer func() { require.NoError(t, storage.Shutdown(ctx)) }()

	stores := memorystore.NewFactory()
	id := component.NewID(files.Type())
	memory := stores.CreateDefaultConfig().(*memorystore.Config)
	memory.Storage = &id
	set := extensiontest.NewNopSettings(stores.Type())
	set.ID = component.NewID(stores.Type())
	ext, err := stores.Create(ctx, set, memory)
	require.NoError(t, err)
	if err := ext.Start(ctx, extensions{id: storage}); err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, ext.Shutdown(ctx)) }()
	totals := map[string]int{}
	for total, err := range ext.(store.StoreExtension).MetricStore().(store.Lister).Totals(ctx) {
		require.NoError(t, err)
		totals[senderOf(t, total.Key)] = total.Value
	}
	return totals, nil
}

// senderOf returns whom a key counts.
func senderOf(t *testing.T, key string) string {
	t.Helper()
	var parts []any
	require.NoError(t, json.NewDecoder(strings.NewReader(key)).Decode(&parts))
	who, _ := parts[2].(map[string]any)[sender].(string)
	return who
}

func sumOfTotals(totals map[string]int) (sum int) {
	for _, n := range totals {
		sum += n
	}
	return sum
}
