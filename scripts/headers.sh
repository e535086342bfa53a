#!/usr/bin/env bash
# headers.sh [--check]: puts the license header before each Go file that has none. With --check it lists those files and
# fails. Generated files are left as their generators write them.
set -euo pipefail
cd "$(dirname "$0")/.."
header=$'// Copyright The tally Authors\n// SPDX-License-Identifier: Apache-2.0'
missing=0
while IFS= read -r -d '' file; do
  if [ ! -f "$file" ] || [ "$(head -n 2 "$file")" = "$header" ] || grep -qE '^// Code generated .* DO NOT EDIT\.$' "$file"; then
    continue
  fi
  missing=$((missing + 1))
  if [ "${1:-}" = --check ]; then
    echo "$file" >&2
  else
    printf '%s\n\n' "$header" | cat - "$file" > "$file.new" && cat "$file.new" > "$file" && rm "$file.new"
  fi
done < <(git ls-files -coz --exclude-standard '*.go')
if [ "${1:-}" = --check ] && [ "$missing" -gt 0 ]; then
  echo "$missing files have no license header; \`make format\` gives them one" >&2
  exit 1
fi
