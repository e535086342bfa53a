#!/usr/bin/env bash
# mutation.sh [PACKAGE...]: changes the code of a package in one place at a time and runs the package's tests, which
# should fail each time. What they do not notice is in .tools/mutation/PACKAGE.log, as LIVED; docs/mutation.md says what
# became of it.
set -euo pipefail
cd "$(dirname "$0")/.."
gremlins=github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
out=$PWD/.tools/mutation
mkdir -p "$out"

# package, the files of it that are changed, for how many times the duration of the tests a run of them may last, the
# tests that are left out for the time they take
parts() {
  cat << 'PARTS'
internal/limiter .* 5 ^$
internal/serieskey .* 5 ^$
internal/aggregate .* 5 ^$
memorystore/internal/state .* 5 ^$
internal/apply .* 5 ^$
internal/memory store 5 ^TestSketch
. (pool|processor|engine) 1 ^(TestMemory|TestSketch|TestDurableRace|TestNamedTests|TestFault_lifecycle_(longest|senders)|TestFault_input_(random|card|over))
redisstore (slot|protocol|local) 1 ^(TestContract|TestLeast|TestWarnings|TestSlots|TestFault_redis_[b-z]|TestDamaged|TestComponent|TestPassword)
PARTS
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GOBIN=$work go install "$gremlins"

while read -r package files patience slow; do
  if [ $# -gt 0 ] && [[ " $* " != *" $package "* ]]; then
    continue
  fi
  # A copy without the tests of other packages: gremlins runs those of all folders below, too.
  copy=$work/copy
  rm -rf "$copy"
  mkdir "$copy"
  git ls-files -z | grep -zv -e '^dist/' -e '^bench/' -e '^tools/' -e '^e2e/' -e '^docs/' | xargs -0 cp --parents -t "$copy"
  find "$copy" -name '*_test.go' -not -path "$copy/${package/#./}*" -delete
  find "$copy/$package" -mindepth 2 -name '*_test.go' -delete
  others=$(cd "$copy/$package" && find . -name '*.go' -printf '%P\n' | grep -vxE "$files[.]go" | sed 's/.*/^&$/' | paste -sd '|')
  name=${package//\//_}
  name=${name/#./root}
  echo "--- $package, leaving out tests $slow"
  (cd "$copy" && GOFLAGS="-vet=off -ldflags=-w -skip=$slow" "$work/gremlins" unleash --workers "${WORKERS:-1}" --timeout-coefficient "${patience}" \
    --invert-logical --invert-loopctrl --invert-assignments --remove-self-assignments \
    --exclude-files "${others:-^$}" --output "$out/$name.json" "./$package") > "$out/$name.log" 2>&1 || { tail -n 5 "$out/$name.log"; exit 1; }
  grep -E 'LIVED|NOT COVERED|TIMED OUT|^Killed|^Timed|^Test|^Mutator' "$out/$name.log" || true
done < <(parts)
