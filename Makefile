# `make run` counts the bundled logs, `make test` passes all tests. Both build and install what they need.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

COLLECTOR := dist/otelcol-tally
# The folders of the modules: the library, and what only tests, benchmarks and builds need.
MODULES   := . e2e bench tools tools/docs tools/lint
LINT      := $(CURDIR)/.tools/golangci-lint
AXE       := .tools/browser/node_modules/axe-core/axe.min.js
SOURCES   := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './dist/*' -not -path './.tools/*' -not -path './bench/*' -not -path './tools/*' -not -path './e2e/*' -not -path './*test/*')

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

.PHONY: run
run: build .tools/quickstart ## Count the bundled logs, print the totals, go on until Ctrl-C
	@.tools/quickstart

.PHONY: build
build: $(COLLECTOR) ## Build the distribution dist/otelcol-tally with ocb

# Programs that tests need must be there where all tests are to pass; alone, `go test` leaves those tests out.
test faults evidence: export TALLY_TEST_ALL := 1

.PHONY: test
test: setup build .tools/telemetrygen $(AXE) generated tidy lint ## Pass all tests
	go vet ./...
	go test -race -timeout 10m ./...
	@echo "--- the built Collector, browsers, files, and beside them the fleet store again, with its servers 5 ms away"
	$(FAR) & far=$$!; near=0; (cd e2e && go vet ./... && go test -race -timeout 10m ./...) || near=$$?; wait $$far && exit $$near
	@echo "--- again, with pooled protobuf messages"
	TALLY_TEST_GATES=pdata.useProtoPooling go test -race -count=1 -timeout 10m .
	@echo "--- again, allocation budgets without the race detector"
	go test -run 'Alloc|Memory' ./...
	@echo "--- beside the peers"
	cd bench && go vet ./... && go test ./...
	cd tools && go vet ./... && go test ./...
	cd tools/docs && go vet ./... && go test ./...
	@$(MAKE) --no-print-directory pages
	@$(MAKE) --no-print-directory licenses

# Left out is what moves the servers away itself, what chooses the order of requests itself, and one test of many round
# trips, one after the other.
FAR := TALLY_TEST_DISTANCE=5ms go test -timeout 20m -run '^Test' -skip 'Far|_far_|_any_order|_any_clock|_leaving|_forgetting|Exhaustive|PortIsTheScript|DefectsAreFound|TestLimits|TestContract/.*/concurrent' ./redisstore

.PHONY: far
far: setup ## Run the tests of the fleet store with its servers 5 ms away
	$(FAR)

.PHONY: setup
setup:
	@scripts/setup.sh

.PHONY: cover
cover: setup ## Print the statement coverage
	go test -coverpkg=./... -coverprofile=coverage.out ./... > /dev/null
	@grep -v -e /generated_ -e /metadatatest/ coverage.out > coverage.own && mv coverage.own coverage.out
	@go tool cover -func=coverage.out | tail -n 1

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (30s)
	@scripts/fuzz.sh

.PHONY: clock
clock: setup ## Run the tests under a wall clock that steps by days
	@scripts/clock.sh

.PHONY: kills
kills: build ## Kill the Collector KILLS (200) times under load and check its totals each time
	TALLY_TEST_KILLS=$${KILLS:-200} go test -C e2e -v -count=1 -timeout 0 -run TestFault_kill .

.PHONY: faults
faults: setup build .tools/telemetrygen $(AXE) ## Run all fault tests, and those with generated input, with their long rounds
	for module in . e2e; do TALLY_TEST_LONG=1 go test -C $$module -v -count=1 -p 1 -timeout 0 -run TestFault_ ./...; done
	for module in . e2e bench; do TALLY_TEST_LONG=1 go test -C $$module -count=1 -p 1 -timeout 0 -skip TestFault_ ./...; done

.PHONY: soak
soak: build ## Run a Collector for SOAK (1h) under mixed load and faults, and tell what has grown
	TALLY_TEST_SOAK=$${SOAK:-1h} go test -C e2e -v -count=1 -timeout 0 -run TestFault_resource_soak .

.PHONY: evidence
evidence: setup build .tools/telemetrygen ## Run all fault tests with their long rounds and write docs/reliability.md
	scripts/evidence.sh

.PHONY: fleet
fleet: setup build .tools/telemetrygen ## Count with three Collectors in one Redis, read with a fourth, check the totals
	go test -C e2e -v -count=1 -timeout 5m -run 'TestFleet$$' .

.PHONY: screenshots
screenshots: setup ## Draw the console's page for the docs, docs/console/*.png
	TALLY_SCREENSHOTS=$(CURDIR)/docs/console go test -C e2e -count=1 -run 'TestScreenshots$$' ./console

.PHONY: mutation
mutation: setup ## Change the code of the counting core and see whether its tests notice, in an hour or more
	@scripts/mutation.sh

.PHONY: bench
bench: .tools/builder ## Run the benchmarks once, beside the peers
	scripts/bench.sh 1

.PHONY: bench-report
bench-report: .tools/builder ## Run the benchmarks ten times and write docs/benchmarks.md, in 15 minutes
	scripts/bench.sh 10
	cd tools && go run ./benchreport -in ../.tools/bench.txt -out ../docs/benchmarks.md -chart ../docs/benchmarks.svg

.PHONY: compat
compat: setup ## Test with the newest Collector set, and build a distribution of the oldest
	@scripts/compat.sh

.PHONY: lint
lint: .tools/golangci-lint ## Check license headers, the width of comments, and what golangci-lint finds in all modules
	@scripts/headers.sh --check
	@cd tools && go run ./columns
	@for module in . e2e bench tools tools/docs; do echo "--- lint $$module"; (cd $$module && $(LINT) run ./...); done

.PHONY: format
format: .tools/golangci-lint ## Add missing license headers, break comments that are too wide, format the code
	scripts/headers.sh
	cd tools && go run ./columns -fix
	for module in . e2e bench tools tools/docs; do (cd $$module && $(LINT) fmt); done

.PHONY: pages
pages: build ## Check the pages: links, YAML, names of options, metrics, targets and tests, in seconds
	@go run -C tools/docs ./check

.PHONY: messages
messages: ## Write all errors, log lines, descriptions and texts of the console to .tools/messages.txt, to read them in one go
	@mkdir -p .tools
	go run -C tools/docs ./messages > .tools/messages.txt

.PHONY: licenses
licenses: build ## Fail when the distribution holds a license that is not on the list, in seconds and without network
	@cd tools && go run ./licenses

.PHONY: vulnerabilities
vulnerabilities: build ## Look for known vulnerabilities with govulncheck, where its database can be reached
	@scripts/vulnerabilities.sh

.PHONY: generate
generate: ## Write the generated files
	@scripts/generate.sh
	go run -C tools/docs ./configuration
	for module in $(MODULES); do (cd $$module && go mod tidy); done

.PHONY: generated
generated: ## Fail when generating would change a file
	@scripts/unchanged.sh "make generate" scripts/generate.sh
	@scripts/unchanged.sh "make generate" go run -C tools/docs ./configuration

.PHONY: tidy
tidy: ## Fail when tidying would change go.mod or go.sum
	for module in $(MODULES); do (cd $$module && go mod tidy -diff); done

.PHONY: clean
clean: ## Remove what was built
	rm -rf dist .tools coverage.out

$(COLLECTOR): builder-config.yaml go.mod $(SOURCES) $(wildcard tallyconsole/assets/*) .tools/builder
	.tools/builder --config builder-config.yaml

.tools/builder: tools/go.mod
	cd tools && go build -o ../.tools/builder go.opentelemetry.io/collector/cmd/builder

.tools/golangci-lint: tools/lint/go.mod
	cd tools/lint && go build -o ../../.tools/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.tools/telemetrygen: tools/go.mod
	cd tools && go build -o ../.tools/telemetrygen github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen

$(AXE): tools/browser/package.json tools/browser/package-lock.json
	mkdir -p .tools/browser
	cp $^ .tools/browser
	npm ci --prefix .tools/browser --ignore-scripts --no-audit --no-fund --silent
	touch $@

.tools/quickstart: tools/go.mod tools/quickstart/main.go
	cd tools && go build -o ../.tools/quickstart ./quickstart
