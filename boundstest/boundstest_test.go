// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package boundstest_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

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
	fmt.Println(c.Summary())
	// Output:
	// <nil>
	// <nil>
	// read is below what was acknowledged: 19, of 20
	// read is above what was attempted: 40, of 30
	// 20 acknowledged of 30 attempted; 4 reads, 1 behind, 1 ahead, 0 failed
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
	assert.Equal(t, boundstest.Summary{Attempted: 5, Acknowledged: 2, Reads: 4, Failed: 1, Behind: 1, Ahead: 1}, c.Summary())
	assert.EqualValues(t, 3, c.Summary().Unknown())
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
