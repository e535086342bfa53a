#!/usr/bin/env bash
# Runs the benchmarks of folder bench and leaves what they print in .tools/bench.txt. The first argument is the number
# of rounds: each runs every contestant once, so that they take turns.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-1}
out=$PWD/.tools/bench.txt
binary=$PWD/.tools/bench.test

.tools/builder --config bench/builder-config.yaml > .tools/bench-build.log 2>&1 || { cat .tools/bench-build.log >&2; exit 1; }
cd bench
go test -c -o "$binary" .

bench() { # pattern, then further flags
  local pattern=$1
  shift
  "$binary" -test.run '^$' -test.timeout 30m -test.bench "$pattern" "$@" | tee -a "$out"
}

: > "$out"
for _ in $(seq "$rounds"); do
  bench '^Benchmark(Count|Scaling)$' -test.benchtime 200ms
  bench '^BenchmarkCollector$' -test.benchtime 8x
  bench '^BenchmarkStall$' -test.benchtime 1x
done
bench '^BenchmarkKeys$' -test.benchtime 200ms -test.count "$rounds"    # to fill the store takes longer than to measure
bench '^BenchmarkMemory$' -test.benchtime 1x -test.count "$(((rounds + 2) / 3))" # the heap is the same each time
