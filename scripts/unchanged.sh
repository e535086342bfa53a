#!/usr/bin/env bash
# unchanged.sh HINT COMMAND...: runs COMMAND and fails when that has changed a file; HINT says how to make it right.
set -euo pipefail
cd "$(dirname "$0")/.."
hint=$1
shift

state() { git ls-files -co --exclude-standard -z | xargs -0 sha256sum 2> /dev/null | sort -k 2; }

before=$(state)
"$@"
after=$(state)
if [ "$before" != "$after" ]; then
  echo "These files are not up to date; run \`$hint\` and commit the result:" >&2
  diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2
  exit 1
fi
