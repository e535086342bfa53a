#!/usr/bin/env bash
# fuzz.sh [PACKAGE...]: fuzzes each target of the packages (all of them) for FUZZTIME (30s) and tells what that came to.
# The first failure ends it; the input that failed is then in testdata/fuzz of its package, where go test finds it.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
targets=0 executions=0 began=$SECONDS
for package in $(go list "${@:-./...}"); do
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package" 2>&1 | tee "$out"
    targets=$((targets + 1))
    found=$(sed -n 's/.*execs: \([0-9]*\) .*/\1/p' "$out" | tail -n 1)
    executions=$((executions + ${found:-0}))
  done
done
echo "$targets targets, $executions executions, $(((SECONDS - began) / 60)) minutes on $(nproc) cores, no failure"
