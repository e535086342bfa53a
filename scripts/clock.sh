#!/usr/bin/env bash
# clock.sh [PACKAGE...]: runs the tests under a wall clock that steps each 70 ms: a day ahead, two days back, a day and
# an hour ahead. The monotonic clock goes on as it does. Nobody's clock is touched: the tests are built with another
# time.Now.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$(go env GOROOT)/src/time/time.go
sed '/^func Now() Time {/,/^}/ s/^\tmono -= startNano$/&\n\tif mono > 0 \&\& !runtimeIsBubbled() {\n\t\tsec += []int64{0, 86400, -86400, 3600}[mono\/70e6%4]\n\t}/' "$source" > "$work/time.go"
if cmp -s "$source" "$work/time.go"; then
  echo "this Go has another time.Now" >&2
  exit 1
fi
printf '{"Replace": {"%s": "%s"}}' "$source" "$work/time.go" > "$work/overlay.json"
# Left out: tests that compare with the wall clock themselves, and that of the page, for its time.
go test -overlay "$work/overlay.json" -count=1 -timeout 20m -skip '^TestContract$/.*/^Totals$|^TestPage$' \
  "${@:-./...}"
