#!/usr/bin/env bash
# Writes the generated files of each component from its metadata.yaml.
# mdatagen names the package after the folder that it is given, so it gets each folder by a link with the right name.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
links=$(mktemp -d)
trap 'rm -rf "$links"' EXIT
while read -r metadata; do
  folder=$(dirname "$metadata")
  package=$(cd "$folder" && sed -n 's/^package //p' doc.go)
  ln -s "$root/${folder#./}" "$links/$package"
  go tool -modfile="$root/tools/go.mod" mdatagen "$links/$package/metadata.yaml"
done < <(find . -name metadata.yaml -not -path './dist/*' -not -path './.tools/*' -not -path './bench/*' | sort)
