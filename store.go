package tallyprocessor

import (
	"context"
	"iter"
	"time"
)

// MetricStore keeps one running total per key. It is all that counting needs, so anything with these two methods can
// be injected with WithMetricStore.
//
// Both methods are called by several goroutines at once. A key is text as package documentation describes it; the
// store may keep it. Inc may block: logs wait for it only when the queue is full. The processor calls neither method
// after its Shutdown has returned, except for a call that was blocked then already.
type MetricStore interface {
	// Inc adds one to the total of key. A total that is at the largest int stays there.
	Inc(key string)
	// Get returns the total of key; 0 for a key that was never counted.
	Get(key string) int
}

// Adder is implemented by a MetricStore that can add n at once. A store without it gets n calls of Inc.
type Adder interface {
	// Add adds n, which is positive, to the total of key, as n calls of Inc would.
	Add(key string, n int)
}

// Binder is implemented by a MetricStore whose totals can be added to without a look-up of the key each time. The
// processor keeps the Counters of keys that it sees again and again.
type Binder interface {
	// Bind returns the Counter of key. It does not block.
	Bind(key string) Counter
	// Now returns the time by the clock of the store.
	Now() time.Time
}

// Counter adds to the total of one key. It is safe for concurrent use.
type Counter interface {
	// Add adds n, which is positive, as n calls of Inc would at the time now, of the store's clock; it does not block. The answer is false, and
	// nothing was added, when the store has dropped the key since Bind: the caller binds it anew.
	Add(n int, now time.Time) bool
}

// Lister is implemented by a MetricStore that can list what it holds.
type Lister interface {
	// Totals yields every key once, in no order. A total that changes meanwhile is yielded as it was at some moment
	// during the listing, a key that is new meanwhile may be left out. The listing ends with the first error, whose
	// Total has no meaning; ctx bounds the time a remote store may take.
	Totals(ctx context.Context) iter.Seq2[Total, error]
}

// LocalLister is implemented by a MetricStore that many processes share. The limits of the processor are then on what this
// process has counted, and it does not list what the others have when it starts.
type LocalLister interface {
	// LocalTotals yields, once and in no order, every key that this process has counted, and those that an earlier process has
	// left to it, with what they have added to its total. It does not block.
	LocalTotals() iter.Seq[Total]
}

// Settler is implemented by a MetricStore whose totals may fall for a while, as those of a server do that has failed over to a
// replica which is behind, until the writers have brought back what is missing.
type Settler interface {
	// SettleTime returns how long that may take. A total that is lower for longer has begun anew.
	SettleTime() time.Duration
}

// Flusher is implemented by a MetricStore that buffers. The processor flushes a store of WithMetricStore at the end of its Shutdown. A
// StoreExtension flushes its store in its own Shutdown, which is after that of all processors.
type Flusher interface {
	// Flush returns when everything added before the call is as durable as the store makes it, or with an error,
	// at the latest when ctx ends.
	Flush(ctx context.Context) error
}

// Durable is implemented by a Flusher whose totals may outlive the process. It is what the option `durable` takes.
type Durable interface {
	Flusher
	// Durable returns nil when what was added before a Flush that has returned nil is not lost with the process; else an
	// error that says what is missing for that. It is asked once, before anything is counted. Whether it outlives the
	// machine too is a matter of what the store writes to: a file that is synced, a server that does.
	Durable() error
}

// Describer is implemented by a MetricStore that keeps what readers need to know of its metrics besides their totals.
type Describer interface {
	// Describe sets the description of a metric. The last word counts.
	Describe(d Description)
	// Descriptions returns what was described, in no order. The caller owns the result.
	Descriptions() []Description
}

// Claimer is implemented by a MetricStore that knows which components count a metric in it. So two that mean something else by its name
// do not add up, and those that mean the same have one limit.
type Claimer interface {
	// Claim says that a component counts the metric of d until it calls release. It is an error while another does so whose Unit
	// or Sum differs. shared is what begin has returned to the first of those that count the metric at the time.
	Claim(d Description, begin func() (shared any)) (shared any, release func(), err error)
}

// Opener is implemented by a MetricStore that outlives the process. Keys that were first counted since it was opened are
// new to the world; older ones may have been exported by an earlier process.
type Opener interface {
	// Opened returns when the store began to count in this process.
	Opened() time.Time
}

// Saturater is implemented by a MetricStore that can tell that a total has reached the largest int.
type Saturater interface {
	// Saturated returns how many additions a total could not take in full.
	Saturated() int64
}

// Forgetter is implemented by a MetricStore that drops keys which were not counted for a while, so that a flood of
// short-lived keys does not fill it for ever. What it drops stays in the balance: the total of a metric is the sum over
// its keys and what is forgotten of it.
type Forgetter interface {
	// ForgetAfter returns how long a key is idle before it is dropped; 0 = for ever.
	ForgetAfter() time.Duration
	// AroundForget registers around, which the store calls, from any goroutine, whenever it is about to drop keys: around
	// must call drop once, which drops them and returns those that it dropped. So whoever counts can keep every Add apart
	// from that. unregister ends it; around is not called after it has returned.
	AroundForget(around func(drop func() (keys []string))) (unregister func())
	// Forgotten returns what was dropped, by metric; keys that are not tally's are under "". The caller owns the result.
	Forgotten() map[string]Forgotten
}

// Forgotten is what a store has dropped of a metric.
type Forgotten struct {
	Keys  int // how often a key was dropped, since the store was opened
	Total int // the sum of the totals that they had, kept as long as totals are
}

// OverflowKeeper is implemented by a MetricStore that remembers which keys beyond a limit are counted under overflow keys
// most, in bounded memory. Their texts are log content: they are for an operator to ask for, and never exported.
type OverflowKeeper interface {
	// Overflowed notes that n, which is positive, was added under an overflow key of metric, instead of under key.
	Overflowed(metric, key string, n int)
	// Overflows returns the heaviest keys noted for a metric, in descending order of their estimate, at most limit of
	// them.
	Overflows(metric string, limit int) []Overflow
}

// Overflow is a key that was counted under an overflow key.
type Overflow struct {
	Key      string
	Estimate int // of what would have been its total, never below it: at most MaxError above
	MaxError int
}

// Description is what a backend shows of a metric.
type Description struct {
	Metric      string // its name
	Description string
	Unit        string

	// Sum is what a record adds: `records` for 1, `bytes` for its size, else the OTTL expression that yields it. Empty = it is
	// not known.
	Sum string

	// CardinalityLimit is how many keys of its own the metric may have, overflow keys apart; 0 = any number, or it is not known.
	// Each process of those that share a store keeps to its own.
	CardinalityLimit int

	// Key is the one key that the metric can have, which readers show at 0 before its first record; empty = it has many, or
	// that is not known.
	Key string
}

// Total is what a store knows of one key.
type Total struct {
	Key   string
	Value int
	Start time.Time // when the key was first counted
	Last  time.Time // when it was last counted, to the millisecond

	// Restored is the part of Value that was there already when the store was opened; 0 in a store that does not
	// outlive the process. A store that many processes share cannot tell: there it is Value, or 0 for a key that is newer.
	Restored int
}
