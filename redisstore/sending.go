// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What to send is up to the slots and sweeps; here it is sent.

// exchange sends all calls and waits for their answers. An error is that of something which is no call.
func (w *writer) exchange(ctx context.Context, calls []call, fields []any) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeouts*w.cfg.Timeout) // for all of it: see attempt
	defer cancel()
	scripts := make([]*scriptCall, len(calls))
	for i := range calls {
		scripts[i] = &calls[i].scriptCall
	}
	err := w.send(ctx, scripts)
	switch {
	case fields == nil:
		return nil
	case err == nil || !classify(err).absent:
		err = w.sendDescriptions(ctx, fields)
	}
	if err != nil {
		return fmt.Errorf("send descriptions: %w", err)
	}
	return nil
}

// sendDescriptions is not part of the pipeline: the client leaves a server that has become a replica when the first
// command of a pipeline is refused for that, and reading is not.
func (w *writer) sendDescriptions(ctx context.Context, fields []any) error {
	name := w.names.descriptions()
	if before, err := w.client.HGetAll(ctx, name).Result(); err == nil {
		w.health.noteMeanings(w.describe.others(before))
	}
	return w.client.HSet(ctx, name, fields...).Err()
}

// attempt sends what is in pipe and waits for the answers, not longer than an attempt may take. Readers rely on that:
// see settleTime.
func (w *writer) attempt(ctx context.Context, pipe redis.Pipeliner) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeouts*w.cfg.Timeout)
	defer cancel()
	_, err := pipe.Exec(ctx)
	return err
}

// scriptCall is a call of a script.
type scriptCall struct {
	script *redis.Script
	keys   []string
	args   []any
	cmd    *redis.Cmd
}

// queue sends the call with others.
func (c *scriptCall) queue(ctx context.Context, pipe redis.Pipeliner) {
	c.cmd = pipe.EvalSha(ctx, c.script.Hash(), c.keys, c.args...)
}

// failed gives a call the error of its pipeline, unless it has one of its own, or an answer.
func (c *scriptCall) failed(err error) {
	if err != nil && c.cmd.Err() == nil && c.cmd.Val() == nil { // there was not even a connection
		c.cmd.SetErr(err)
	}
}

// send makes calls and waits for their answers, which each call has then. The error is that of the first attempt.
func (w *writer) send(ctx context.Context, calls []*scriptCall) error {
	pipe := w.client.Pipeline()
	for _, c := range calls {
		c.queue(ctx, pipe)
	}
	err := w.attempt(ctx, pipe)
	for _, c := range calls {
		c.failed(err)
	}
	w.load(ctx, calls)
	return err
}

// load sends those calls again whose server did not know the script. The first of a script has it, and the others are
// after that, so one round trip is enough for a server; in a Cluster there is one for each node.
func (w *writer) load(ctx context.Context, calls []*scriptCall) {
	for {
		pipe := w.client.Pipeline()
		var again []*scriptCall
		sent := map[*redis.Script]bool{}
		for _, c := range calls {
			if err := c.cmd.Err(); err == nil || !redis.HasErrorPrefix(err, "NOSCRIPT") {
				continue
			}
			if sent[c.script] {
				c.queue(ctx, pipe)
			} else {
				c.cmd = c.script.Eval(ctx, pipe, c.keys, c.args...)
				sent[c.script] = true
			}
			again = append(again, c)
		}
		if len(again) == 0 {
			return
		}
		err := w.attempt(ctx, pipe)
		for _, c := range again {
			c.failed(err)
		}
	}
}

// combine joins errors; of many shards with the same one it is told once.
func combine(errs []error) error {
	var all []error
	seen := map[string]bool{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		_, text, _ := strings.Cut(err.Error(), ": ")
		if !seen[text] {
			seen[text] = true
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}
