# The two that matter: make demo, make test. Everything else that is needed comes with the modules.
GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   := -X main.version=$(VERSION)
FUZZTIME  ?= 10s
YEAR      ?= 1000000
SCREENSHOTS ?= bin/screenshots
PACKAGES  := ./...

# Of all builds but those with the race detector, which needs cgo: so lint, the tests and the binary
# share what is compiled, in any clone.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath $(filter-out -trimpath,$(shell $(GO) env GOFLAGS))

.PHONY: all build recheck image cross demo test store-test lint unit js skipped agree year bench bench-peers bench-store screenshots strangers fuzz vectors clean

all: build

build: recheck ## the binary, at bin/poclog, with the Go verifier for browsers in it
	$(GO) build -tags goverifier -ldflags '$(LDFLAGS)' -o bin/poclog ./cmd/poclog

recheck: ## the Go verifier as WebAssembly, which the explorer serves: a build without the tag goverifier has none, and says so
	mkdir -p internal/page/recheck/build
	GOOS=js GOARCH=wasm $(GO) build -ldflags '-s -w' -o internal/page/recheck/build/recheck.wasm ./internal/page/recheck/wasm
	gzip -9 -n -f internal/page/recheck/build/recheck.wasm
	cp "$$($(GO) env GOROOT)/lib/wasm/wasm_exec.js" internal/page/recheck/build/wasm_exec.js

image: recheck ## an OCI image of the static binary, at bin/poclog.oci.tar, without a container engine; the same commit gives the same bytes
	GOOS=linux $(GO) build -buildvcs=false -tags goverifier -ldflags '-s -w -buildid= $(LDFLAGS)' -o bin/poclog-linux ./cmd/poclog
	$(GO) run ./internal/image -binary bin/poclog-linux -tag poclog:latest -o bin/poclog.oci.tar

cross: ## that the command builds for the other systems that README.md names
	for t in linux/arm64 darwin/arm64; do GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./cmd/poclog || exit 1; done
	GOOS=windows GOARCH=amd64 $(GO) build ./verify/... ./client/...

demo: build ## the main job, on a log of its own; ONCE=1 ends it after the last act
	bin/poclog demo $(if $(ONCE),--once)

test: lint js unit ## all that must hold; TestREADME runs the demo
	@$(MAKE) --no-print-directory skipped

skipped: ## what make test skips here, and how to have it run
	@for p in swtpm:swtpm swtpm_setup:swtpm-tools strace:strace chromium:chromium openssl:openssl node:nodejs npm:npm; do \
		command -v $${p%:*} >/dev/null || echo "skipped: tests that need $${p%:*}; on Debian: apt-get install $${p#*:}"; \
	done
	@test -d js/node_modules || echo "skipped: tests that need the TypeScript verifier built; run: make js"
	@echo "skipped: tests of the store mysqls3, which need mariadbd and an S3 server; on Debian: apt-get install mariadb-server; then: make store-test"
	@test -d ../shared/evidence || echo "skipped: tests on evidence captured elsewhere, which is not in this repository (../shared/evidence)"

lint: ## formatting, vet and staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "not gofmted: $$files"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(GO) tool staticcheck $(PACKAGES)

# The race detector makes signatures and parsers five to ten times slower, and finds nothing where
# no two goroutines meet. The tests of a package run with it if a file of the package or of its tests
# starts a goroutine, runs tests in parallel, or imports a package that does so or that locks.
# internal/agree is left out: its goroutines only wait for the other implementation. Tests in files
# that are marked as `!race` need more time, and have one goroutine: the last line runs them.
CONCURRENT := ^[[:space:]]*go (func|[A-Za-z_.]+)[(]|[.](Run)?Parallel[(]|^(import )?[[:space:]]*"(sync|sync/atomic|net/http|net/http/httptest|golang.org/x/sync/errgroup)"$$

# It does not watch SQLite's engine and the arithmetic of keys, which work on memory of their own.
RACE := -race $(foreach p,modernc.org/... crypto/internal/fips140/... math/big,-gcflags=$(p)=-race=false)

# Many tests wait, so more packages run at once than there are cores; those that take longest begin
# first. All of them are vetted by lint.
LONGEST := /(cmd/poclog|log|monitor/web|verify/profile|witness|witness/audit|monitor|strangers|agree)$$
UNIT := test -vet=off -timeout 40m -p $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

unit: export GORACE := atexit_sleep_ms=0
unit: ## the tests: with the race detector where there is concurrency, and without it elsewhere
	@all=$$($(GO) list -f '{{.Dir}}' $(PACKAGES)) || exit 1; \
	race=; rest=; for d in $$(echo "$$all" | grep -E '$(LONGEST)'; echo "$$all" | grep -vE '$(LONGEST)'); do \
		if [ "$${d##*/}" != agree ] && grep -qE '$(CONCURRENT)' $$d/*.go; then race="$$race $$d"; else rest="$$rest $$d"; fi; \
	done; status=0; \
	if [ -n "$$race" ]; then CGO_ENABLED=1 $(GO) $(UNIT) $(RACE) $$race || status=1; fi; \
	if [ -n "$$rest" ]; then $(GO) $(UNIT) $$rest || status=1; fi; \
	for d in $$race; do \
		one=$$(grep -ls '^//go:build !race$$' $$d/*_test.go | xargs -r sed -n 's/^func \(Test[^(]*\)(.*/\1/p' | paste -sd '|' -); \
		if [ -n "$$one" ]; then $(GO) $(UNIT) -run "^($$one)$$" $$d || status=1; fi; \
	done; \
	exit $$status

js: ## the TypeScript verifier: types, bundle, every vector
	@if ! command -v npm >/dev/null; then \
		echo "js: SKIPPED: Node 20.19 or later is not installed; on Debian: apt-get install nodejs npm"; \
	else \
		cd js && npm ci --silent && npm test --silent; \
	fi

VERSITYGW ?= github.com/versity/versitygw/cmd/versitygw@v1.8.0

store-test: ## the store mysqls3 against MariaDB (Debian's mariadb-server) and an S3 server over HTTP, which is built first and not committed
	@command -v mariadbd >/dev/null || test -x /usr/sbin/mariadbd || { echo "store-test: SKIPPED: MariaDB is not installed; on Debian: apt-get install mariadb-server"; exit 0; }; \
	test -x bin/versitygw || GOBIN=$(CURDIR)/bin $(GO) install $(VERSITYGW) || { echo "store-test: SKIPPED: $(VERSITYGW) cannot be built here"; exit 0; }; \
	POCLOG_VERSITYGW=$(CURDIR)/bin/versitygw $(GO) test -count 1 -timeout 40m -parallel 4 -v ./log/store/... ./log -run 'Conformance|OpenRefuses|FrontEnd' && \
	POCLOG_VERSITYGW=$(CURDIR)/bin/versitygw $(GO) test -count 1 -timeout 20m ./cmd/poclog -run 'TestCommands/frontends$$'

bench-store: bin/versitygw ## front ends on MariaDB and an S3 server beside Tessera's driver alone on the same, in one run; then how long receipts and a start take, and what each entry asks of the servers. TURNS=1 is enough for a look
	POCLOG_VERSITYGW=$(CURDIR)/bin/versitygw $(GO) test ./log -run '^$$' -bench 'FrontEnds$$' -benchtime $(or $(TURNS),3)x -timeout 60m -v
	POCLOG_VERSITYGW=$(CURDIR)/bin/versitygw $(GO) test ./log -run '^$$' -bench 'FrontEndsSteady|FrontEndsDuplicate|FrontEndStart' -benchtime 1x -timeout 60m -v

bin/versitygw:
	GOBIN=$(CURDIR)/bin $(GO) install $(VERSITYGW)

agree: ## N mutated files in both implementations; SEED says which ones, BATCH from which 500 of them on (js must be built: make js)
	POCLOG_AGREE=$(or $(N),1000000) POCLOG_SEED=$(or $(SEED),1) POCLOG_BATCH=$(or $(BATCH),0) $(GO) test -run BothImplementations -v -count 1 -timeout 24h ./internal/agree

year: ## a year of honest operation with a million entries, and one of honest registrars, in which a monitor must find nothing
	POCLOG_YEAR=$(YEAR) $(GO) test -run Year -v -count 1 -timeout 60m ./monitor

bench: ## every benchmark; figures of one run compare, figures of two do not. A monitor scans a million entries: YEAR=30000 is enough for a look
	POCLOG_YEAR=$(YEAR) $(GO) test -run '^$$' -bench . -benchtime 1s -timeout 60m $(PACKAGES) | grep -v -e '^ok' -e 'no test files' -e '^PASS'

screenshots: ## the explorer's pages at three widths, dark, and printed, into SCREENSHOTS
	mkdir -p $(SCREENSHOTS) && POCLOG_SCREENSHOTS=$(abspath $(SCREENSHOTS)) $(GO) test -run PagesInChromium -count 1 ./monitor/web

bench-peers: ## ours beside other projects' programs, which it fetches and builds, as ratios of one run
	$(GO) run ./internal/versus

strangers: build ## honest load beside strangers who take what they can, as ratios of one run; fails where an honest request failed or got over 5 times slower, or memory went over its limit
	$(GO) run ./internal/strangers -poclog bin/poclog

fuzz: ## every fuzz target for FUZZTIME each; minimizing is kept short, for it would take the time of slow parsers' targets
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || exit 1; \
		done; \
	done

mutate: ## changes the conditions of PKG (or of its FILES) one at a time, and reports which changes no test (or none of those that RUN matches) notices
	$(GO) run ./internal/mutate -files '$(FILES)' -run '$(RUN)' $(or $(PKG),./verify/...)

vectors: ## writes the vectors in testdata anew
	$(GO) test $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/internal\/vectors/ {print $$1}') -run Vectors -update

clean:
	rm -rf bin
