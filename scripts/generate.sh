#!/usr/bin/env bash
# Writes the generated files of each component from its metadata.yaml.
# mdatagen names a package after its folder, so it gets the project by a link that is called as the root package is.
set -euo pipefail
cd "$(dirname "$0")/.."
link=$(mktemp -d)/tallyprocessor
trap 'rm -r "$(dirname "$link")"' EXIT
ln -s "$PWD" "$link"
while read -r metadata; do
  go tool -modfile="$PWD/tools/go.mod" mdatagen "$link/$metadata"
done < <(find . -name metadata.yaml -not -path './dist/*' -not -path './.tools/*' -not -path './bench/*' | sort)
