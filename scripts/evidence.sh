#!/usr/bin/env bash
# evidence.sh [REGEXP]: runs the fault tests (those of the expression; then the figures of the others stay what they
# were) and writes docs/reliability.md from what they report; what fails is in it too. With TALLY_TEST_LONG= (empty) the
# rounds are those of every day.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- . ':!docs' || commit+=+
export TALLY_TEST_ALL=1 TALLY_TEST_LONG=${TALLY_TEST_LONG-1} TALLY_EVIDENCE=$PWD/.tools/evidence.jsonl TALLY_COMMIT=$commit
if [ $# -eq 0 ]; then
  rm -f "$TALLY_EVIDENCE" .tools/evidence-tests.json
fi
failed=0
for module in . e2e; do
  go test -C "$module" -json -count=1 -p 1 -timeout 0 -run "${1:-TestFault_}" ./... >> .tools/evidence-tests.json || failed=$?
done
(cd tools && go run ./evidencereport -in "$TALLY_EVIDENCE" -tests ../.tools/evidence-tests.json -out ../docs/reliability.md -root ..)
exit "$failed"
