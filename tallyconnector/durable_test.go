// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyconnector

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/logtally/tallyprocessor"
	"github.com/logtally/tallyprocessor/store"
	"github.com/logtally/tallyprocessor/tallyconnector/internal/metadata"
)

// keeper is an extension with a store that says it is durable, and that counts its flushes.
type keeper struct {
	component.StartFunc
	component.ShutdownFunc
	*tallyprocessor.MemoryStore
	flushes int
}

func (k *keeper) MetricStore() store.MetricStore { return k }
func (k *keeper) Info() store.Info               { return store.Info{Durable: true} }
func (k *keeper) Self() store.MetricStore        { return k }
func (k *keeper) Flush(context.Context) error    { k.flushes++; return nil }

func (k *keeper) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("keeper"): k}
}

// The connector's own acknowledgement comes after a flush; its private store is none for that.
func TestDurable(t *testing.T) {
	k := &keeper{MemoryStore: tallyprocessor.NewMemoryStore()}
	c := start(t, "{durable: true, store: keeper}", k, consumertest.NewNop())
	require.NoError(t, c.ConsumeLogs(t.Context(), logs(3)))
	assert.Equal(t, 1, k.flushes)
	require.NoError(t, c.Shutdown(t.Context()))

	cfg, err := readConfig(t, "durable: true")
	require.NoError(t, err)
	c, err = NewFactory().CreateLogsToMetrics(t.Context(), connectortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, c.Start(t.Context(), componenttest.NewNopHost()), "`durable` is true: the store is not durable")
	require.NoError(t, c.Shutdown(t.Context()))
}
