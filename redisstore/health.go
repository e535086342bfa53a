// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/logtally/tallyprocessor/internal/meaning"
	"github.com/logtally/tallyprocessor/internal/sampledlog"
)

// health tells whether the server takes what it is given: each change once to the log and the component status, all of
// it to the metrics. It is serial.
type health struct {
	logger  *zap.Logger
	sampled *zap.Logger // passes each message once in a while
	host    component.Host
	numbers *numbers

	failing        string // class of the failure; empty = none
	storageFailing bool
}

func newHealth(logger *zap.Logger, host component.Host, n *numbers) *health {
	return &health{logger: logger, sampled: sampledlog.New(logger), host: host, numbers: n}
}

// note takes the outcome of a flush, and when that began.
func (h *health) note(err error, began time.Time) {
	if err == nil {
		h.numbers.flushes.Add(1)
		if h.failing != "" {
			h.failing = ""
			h.numbers.failingSince.Store(nil)
			h.logger.Info("The server takes the counts again.")
			componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
		}
		return
	}
	c := classify(err)
	h.numbers.failed(c.name)
	if h.failing == c.name {
		return
	}
	logger := h.sampled // the classes of a server that is not well change again and again
	if h.failing == "" {
		logger = h.logger
		h.numbers.failingSince.Store(&began)
	}
	h.failing = c.name
	message := "The server does not take the counts. Counting goes on in memory; sending is tried again."
	if !c.passes {
		message = "The server refuses the counts, and will until somebody changes that. Counting goes on in memory; sending is tried again."
	}
	logger.Error(message, zap.String("class", c.name), zap.Error(err))
	componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(err))
}

// noteMeanings tells which metrics the fleet adds up as something else.
func (h *health) noteMeanings(others map[string]meaning.Meaning) {
	for metric, m := range others {
		h.sampled.Warn("A metric adds up something else than another Collector, or an earlier configuration, has under its name: the totals of the fleet mix both. "+
			"Give it another name, or erase what is left of it (erase.lua).", zap.String("metric", metric), zap.Stringer("other", m))
	}
}

// noteStorage takes the outcome of a write to the storage.
func (h *health) noteStorage(err error) {
	if err != nil {
		h.numbers.storageErrors.Add(1)
	}
	if (err != nil) == h.storageFailing {
		return
	}
	h.storageFailing = err != nil
	if h.storageFailing {
		h.logger.Error("The storage does not take what is about to be sent: a crash would lose it.", zap.Error(err))
		return
	}
	h.logger.Info("The storage takes what is about to be sent again.")
}

// noteForgetting takes the error of a sweep by a server that takes flushes.
func (h *health) noteForgetting(err error) {
	h.sampled.Warn("The server does not let keys be forgotten. It is tried again.", zap.String("class", classify(err).name), zap.Error(err))
}

// messages are for operators; what they tell is dealt with.
var messages = map[event]string{
	eventWiped:      "A shard has lost all totals. This process sends all that it has contributed again; what was contributed by processes that are gone is lost.",
	eventRolledBack: "The server has rolled back, as after a failover to a replica with older data. This process sends all that it has contributed again.",
	eventExpired:    "The record of what this process has contributed to a shard has expired on the server; the totals have it. The process goes on as a new writer.",
	eventFenced:     "Another process writes under the same name, as a copied machine or storage does. This one goes on as a new writer, with what it has counted itself.",
}

// happened takes what a slot has found out. All shards find out the same when a server fails over, so the log has the
// first of them.
func (h *health) happened(what event, shard int) {
	h.numbers.happened(what)
	h.sampled.Warn(messages[what], zap.Int("shard", shard), zap.String("event", string(what)))
}
