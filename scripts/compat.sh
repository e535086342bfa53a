#!/usr/bin/env bash
# compat.sh: what go.mod requires is the oldest Collector set that tally works with, and what the tests of the library
# run with; builder-config.yaml has the newest one, for the distribution and the tests of folder e2e. This is the other
# way round: the library is tested with the newest set, and a distribution of the oldest is built, which takes every
# example. It changes no file of the project.
set -euo pipefail
cd "$(dirname "$0")/.."

core() { sed -nE "s#.*go.opentelemetry.io/collector/$2 (v\S+).*#\1#p" "$1" | head -n 1; }
new_stable=$(core builder-config.yaml confmap/provider/envprovider) new_beta=$(core builder-config.yaml processor/batchprocessor)
old_stable=$(core go.mod component) old_beta=$(core go.mod processor/processortest)
contrib=github.com/open-telemetry/opentelemetry-collector-contrib
ottl=v1.4.1

work=.tools/compat
rm -rf "$work"
mkdir -p "$work"

echo "--- tests with core $new_stable and $new_beta, pkg/ottl $ottl"
cp go.mod "$work/go.mod"
cp go.sum "$work/go.sum"
# confighttp has become stable in between.
sed -i -E \
  -e "s#^(\s+go.opentelemetry.io/collector/\S+) v1\.[0-9.]+#\1 $new_stable#" \
  -e "s#^(\s+go.opentelemetry.io/collector/\S+) v0\.[0-9.]+#\1 $new_beta#" \
  -e "s#^(\s+go.opentelemetry.io/collector/config/confighttp) v\S+#\1 $new_stable#" \
  -e "s#^(\s+$contrib/pkg/ottl) v\S+#\1 $ottl#" \
  -e '/\/\/ indirect$/d' "$work/go.mod"
go mod tidy -modfile="$work/go.mod"
grep -E "collector/(component|processor/processortest) |pkg/ottl " "$work/go.mod"
go vet -modfile="$work/go.mod" ./...
go test -modfile="$work/go.mod" ./...

echo "--- a distribution with core $old_stable and $old_beta"
# Contrib has the core's versions here, but for filelog, of which v0.161.0 cannot be had.
sed -E \
  -e "s#(go.opentelemetry.io/collector/\S+) v1\.[0-9.]+#\1 $old_stable#" \
  -e "s#(go.opentelemetry.io/collector/\S+) v0\.[0-9.]+#\1 $old_beta#" \
  -e "s#($contrib/\S+) v0\.[0-9.]+#\1 $old_beta#" \
  -e "s#($contrib/receiver/filelogreceiver) v\S+#\1 v0.160.0#" \
  -e "s#output_path: .*#output_path: ./$work/dist#" builder-config.yaml > "$work/builder-config.yaml"
# A builder builds with the core of its own version.
GOBIN=$PWD/$work go install "go.opentelemetry.io/collector/cmd/builder@$old_beta"
"$work/builder" --config "$work/builder-config.yaml"
for example in examples/*.yaml; do
  "$work/dist/otelcol-tally" validate --config "$example"
done
echo "--- compatible"
