// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package boundstest_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/logtally/tallyprocessor/boundstest"
)

var errLink = errors.New("link down")

// A client adds to a counter over a link that breaks: of the third addition it never learns what became of it.
func Example() {
	var c boundstest.Checker
	var counter int64
	for n := range 3 {
		c.Attempt(10)
		counter += 10
		if n == 2 {
			break // the answer was lost
		}
		c.Acknowledge(10)
	}
	fmt.Println(c.Check(counter)) // all are there
	fmt.Println(c.Check(20))      // so is what was acknowledged
	fmt.Println(c.Check(19))
	fmt.Println(c.Check(40))
	fmt.Println(c.Summary().Deepest, c.Summary().Unknown())
	// Output:
	// <nil>
	// <nil>
	// read is below what was acknowledged: 19, of 20
	// read is above what was attempted: 40, of 30
	// 1 10
}

// Reads go on while others count.
func ExampleChecker_Read() {
	var c boundstest.Checker
	var counter atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				c.Attempt(1)
				counter.Add(1)
				c.Acknowledge(1)
			}
		})
	}
	for range 100 {
		if _, err := c.Read(func() (int64, error) { return counter.Load(), nil }); err != nil {
			fmt.Println(err)
		}
	}
	wg.Wait()
	fmt.Println(counter.Load(), c.Summary().Unknown())
	// Output: 4000 0
}

func TestBounds(t *testing.T) {
	var c boundstest.Checker
	c.Attempt(5)
	c.Acknowledge(2)
	require.ErrorIs(t, c.Check(1), boundstest.ErrBehind)
	require.NoError(t, c.Check(2))
	require.NoError(t, c.Check(5))
	require.ErrorIs(t, c.Check(6), boundstest.ErrAhead)
	_, err := c.Read(func() (int64, error) { return 100, errLink })
	require.Equal(t, errLink, err)
	got := c.Summary()
	got.Longest = 0
	assert.Equal(t, boundstest.Summary{Attempted: 5, Acknowledged: 2, Reads: 4, Failed: 1, Behind: 1, Ahead: 1, Deepest: 1}, got)
	assert.EqualValues(t, 3, c.Summary().Unknown())
	assert.Equal(t, "2 acknowledged of 5 attempted; 4 reads, 1 behind, 1 ahead, 1 failed; behind by 1 at most, and for 0s", got.String())
}

// How far behind reads were, and for how long: until one that is not.
func TestDips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c boundstest.Checker
		c.Attempt(10)
		c.Acknowledge(10)
		for _, read := range []int64{10, 9, 3, 8, 10, 9, 10} {
			_, _ = c.Read(func() (int64, error) {
				time.Sleep(time.Second)
				return read, nil
			})
		}
		s := c.Summary()
		assert.EqualValues(t, 4, s.Behind)
		assert.EqualValues(t, 7, s.Deepest)
		assert.Equal(t, 3*time.Second, s.Longest)

		both := s.And(boundstest.Summary{Attempted: 5, Acknowledged: 4, Reads: 3, Failed: 2, Behind: 1, Ahead: 1, Deepest: 8, Longest: time.Second})
		assert.Equal(t, boundstest.Summary{Attempted: 15, Acknowledged: 14, Reads: 10, Failed: 2, Behind: 5, Ahead: 1, Deepest: 8, Longest: 3 * time.Second}, both)
	})
}

// What is acknowledged while a read is under way is not held against it, what is attempted meanwhile is allowed.
func TestBoundsOfTheMomentsOfARead(t *testing.T) {
	var c boundstest.Checker
	value, err := c.Read(func() (int64, error) {
		c.Attempt(3)
		c.Acknowledge(3)
		return 0, nil
	})
	require.NoError(t, err)
	require.Zero(t, value)
	_, err = c.Read(func() (int64, error) {
		c.Attempt(1)
		return 4, nil
	})
	require.NoError(t, err)
}
