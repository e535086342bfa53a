#!/usr/bin/env bash
# Runs the fault tests and writes docs/reliability.md from what they report; what fails is in it too. With TALLY_TEST_LONG= (empty)
# the rounds are those of every day.
set -euo pipefail
cd "$(dirname "$0")/.."
export TALLY_TEST_LONG=${TALLY_TEST_LONG-1} TALLY_EVIDENCE=$PWD/.tools/evidence.jsonl
rm -f "$TALLY_EVIDENCE"
failed=0
go test -json -count=1 -p 1 -timeout 0 -run TestFault_ ./... > .tools/evidence-tests.json || failed=$?
(cd tools && go run ./evidencereport -in "$TALLY_EVIDENCE" -tests ../.tools/evidence-tests.json -out ../docs/reliability.md -root ..)
exit "$failed"
