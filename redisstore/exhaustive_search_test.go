// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// scenario is what a search explores: all orders of some kinds of steps.
type scenario struct {
	name     string
	kinds    []kind
	prepared []step // are taken before
	writers  int    // that run at the beginning
	keys     int
	counts   int // records to count, with those of prepared
	late     int // how many calls may arrive once more
	lineages int // how many processes may start from nothing besides the first
	storage  int // how many of the places have a storage
	reader   bool
	depth    int // in the tests of every day
	long     int // with TALLY_TEST_LONG
	without  defect
	strict   limit // that it does not leave out
}

func (s *scenario) timed() bool {
	return slices.ContainsFunc(s.kinds, func(k kind) bool { return periodOf[k] != 0 })
}

// sweeps says whether keys are forgotten.
func (s *scenario) sweeps() bool {
	return slices.ContainsFunc(s.kinds, func(k kind) bool { return k == sweepsOnce || k == sweepsOn })
}

// node is a world that was found, and how.
type node struct {
	before *node
	step   step
	said   string
	world  *world // nil once it was looked at
}

// search is a breadth-first search: what it finds first is among the shortest.
type search struct {
	rules   *scenario
	seen    map[uint64]struct{}
	encoder encoder
	steps   int // that it has tried
	rounds  int // the most that a flush took
}

// run looks at all worlds that so many steps lead to, and returns the steps to the first with a violation, and what it
// is.
func (s *search) run(depth int) (found *node, violation string) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // there is much to throw away, and little to keep
	s.seen = map[uint64]struct{}{}
	first := s.first()
	if violation, _ := first.world.violation(); violation != "" {
		return first, violation
	}
	level := []*node{first}
	for d := range depth {
		var next []*node
		for _, n := range level {
			found, violation := s.expand(n, d+1 < depth, &next)
			if violation != "" {
				return found, violation
			}
			n.world = nil
		}
		level = next
	}
	return nil, ""
}

// first returns where the search begins.
func (s *search) first() *node {
	w := newWorld(s.rules)
	n := &node{world: w}
	for _, step := range s.rules.prepared {
		w.said = ""
		if !w.do(step) {
			panic(fmt.Sprintf("%s: cannot prepare: %s", s.rules.name, step))
		}
		n = &node{before: n, step: step, said: w.said, world: w}
	}
	if w.late = nil; s.rules.reader {
		w.reader.on = true
		w.reader.look(w)
	}
	return n
}

// expand takes all steps from a world. What is new goes to next, if keep says so, and has no violation.
func (s *search) expand(n *node, keep bool, next *[]*node) (found *node, violation string) {
	for _, step := range n.world.steps() {
		w := n.world.after(step)
		s.steps++
		if w == nil {
			continue
		}
		hash := s.encoder.hash(w)
		if _, ok := s.seen[hash]; ok {
			continue
		}
		s.seen[hash] = struct{}{}
		child := &node{before: n, step: step, said: w.said}
		violation, rounds := w.violation()
		if s.rounds = max(s.rounds, rounds); violation != "" {
			return child, violation
		}
		if keep {
			child.world = w
			*next = append(*next, child)
		}
	}
	return nil, ""
}

// trace returns the steps to a node, a line each.
func (n *node) trace() string {
	var lines []string
	for ; n.before != nil; n = n.before {
		line := "  " + n.step.String()
		if n.said != "" {
			line += ": " + n.said
		}
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}
