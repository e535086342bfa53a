#!/usr/bin/env bash
# Builds and tests against a newer Collector set than the minimum that go.mod asks for. It changes no file of the project.
set -euo pipefail
cd "$(dirname "$0")/.."

core_stable=v1.71.0
core_beta=v0.165.0
ottl=v1.4.0

work=.tools/compat
rm -rf "$work"
mkdir -p "$work"

echo "--- tests with core $core_stable and $core_beta, pkg/ottl $ottl"
cp go.mod "$work/go.mod"
cp go.sum "$work/go.sum"
# confighttp has become stable in between.
sed -i -E \
  -e "s#^(\s+go.opentelemetry.io/collector/\S+) v1\.[0-9.]+#\1 $core_stable#" \
  -e "s#^(\s+go.opentelemetry.io/collector/\S+) v0\.[0-9.]+#\1 $core_beta#" \
  -e "s#^(\s+go.opentelemetry.io/collector/config/confighttp) v\S+#\1 $core_stable#" \
  -e "s#^(\s+github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl) v\S+#\1 $ottl#" \
  -e '/\/\/ indirect$/d' "$work/go.mod"
go mod tidy -modfile="$work/go.mod"
grep -E "collector/(component|processor/processortest) |pkg/ottl " "$work/go.mod"
go vet -modfile="$work/go.mod" ./...
go test -modfile="$work/go.mod" $(go list ./... | grep -v /e2e)

echo "--- a distribution with core $core_stable and $core_beta"
# The health check of contrib v0.161.0 does not build with this core; tally does not need it.
sed -E \
  -e "s#(go.opentelemetry.io/collector/\S+) v1\.[0-9.]+#\1 $core_stable#" \
  -e "s#(go.opentelemetry.io/collector/\S+) v0\.[0-9.]+#\1 $core_beta#" \
  -e '/healthcheckextension/d' \
  -e "s#output_path: .*#output_path: ./$work/dist#" builder-config.yaml > "$work/builder-config.yaml"
make .tools/builder
# The builder wants core modules of its own version; they are newer here, on purpose.
.tools/builder --skip-strict-versioning --config "$work/builder-config.yaml"
"$work/dist/otelcol-tally" validate --config examples/quickstart.yaml
echo "--- compatible"
