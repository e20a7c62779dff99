# `make help` lists what can be done here.
SHELL   := /bin/bash
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X main.version=$(VERSION)
LINT    := .cache/bin/golangci-lint

# Where the hot path is.
BENCHED := ./internal/balancer ./internal/http1 ./internal/meter ./internal/proxy ./internal/route ./internal/upstream

# Rooms that start no goroutine, and tests that are about amounts: see race.
UNRACED_ROOMS := archtest|balancer|curve|drain|ending|fleet|history/prometheus|http1|lab|lifecycle|pace|release|route|series|store|store/file|warmup|wire/jute|wire/object|wire/zookeeper
UNRACED_TESTS := ^(TestTenThousand|TestLargeService|TestCostOfGRPC|TestUsers|TestNoFileKeepsTheLoaderBusy|TestCircleIsTheSameEverywhere)$$

# Rooms whose tests wait for others' programs most of their time: make test has them once, under the race detector.
RACED_ONCE := agent|effects|gateway|history|hold/etcd|hold/nacos|hold/zookeeper|local|registry/etcd|registry/nacos|registry/zookeeper|sockets|supervisor

# Rooms that are tested at a time: many of their tests wait for others' programs.
ABREAST := 3

# Ages are counted on the monotonic clock and tests have their own bounds: these only end what hangs.
UNIT_TIMEOUT := 5m
E2E_TIMEOUT  := 20m
SOAK_TIMEOUT := 120m

.DEFAULT_GOAL := help
.PHONY: help run build check test bench bench-smoke microbench soak mutants fmt fmt-check vet lint unit unraced race e2e web web-check clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Start Bookinfo behind the gateway; Ctrl-C stops all of it.
	bin/crossfade up -f examples/bookinfo

build: ## Build bin/crossfade, and the examples' programs beside it.
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/crossfade ./cmd/crossfade
	go build -o bin/bookinfo ./examples/bookinfo/app
	go build -o bin/grpc-echo ./examples/grpc/app
	go build -o bin/httpbin ./examples/httpbin/app
	go build -o bin/asyncinit ./examples/asyncinit/app
	@if command -v javac >/dev/null; then echo javac -d bin/coldjvm examples/coldjvm/app/Main.java; \
	  javac -d bin/coldjvm examples/coldjvm/app/Main.java; else echo 'no javac: examples/coldjvm stays unbuilt; scripts/setup installs a JDK'; fi
	examples/registries/build

web: ## Build the console's page from web/ into internal/console/dist, which is committed: go build needs no Node.
	scripts/web build

check: fmt-check vet lint web-check unit ## Format, vet, lint, unit tests: fast; no network once the tools are there.

test: ## Everything, from a clean clone: set up, check, race detector, end-to-end tests.
	scripts/setup
	$(MAKE) fmt-check vet lint web-check unraced race e2e

bench: build ## Measure beside HAProxy, nginx, Envoy and others (BENCH=, BENCH_PEERS=, BENCH_ROUNDS= select).
	scripts/setup peers
	go build -o bin/bench ./test/bench
	bin/bench

bench-smoke: build ## A little of that in half a minute, without other programs: does the bench work?
	go build -o bin/bench ./test/bench
	BENCH=keepalive-200,connection,post-1k,tls,routes,h2-200,grpc-unary-tls BENCH_PEERS=crossfade,net/http BENCH_ROUNDS=1 bin/bench

microbench: ## Measure the hot paths: pick, codec, route; CPU time and allocations of each.
	go test -run '^$$' -bench . -benchmem -benchtime 300ms -count 3 $(BENCHED)

soak: build ## The seed's walk at full length, and a longer random run (CROSSFADE_SEED repeats one).
	CROSSFADE_FULL=1 go test -tags integration -count 1 -timeout $(SOAK_TIMEOUT) -v ./test/e2e

mutants: ## Break each rule of warm-up and leave in turn and show which test notices; takes half an hour.
	scripts/mutants

fmt: $(LINT) ## Format the code.
	$(LINT) fmt

fmt-check: $(LINT)
	$(LINT) fmt --diff

vet:
	go vet ./...
	go vet -tags integration ./test/...

lint: $(LINT)
	$(LINT) run --allow-parallel-runners ./...

web-check: # of the committed page: is it what its source says?
	scripts/web check

unit: # seeds of the fuzz targets included
	go test -p $(ABREAST) -timeout $(UNIT_TIMEOUT) ./...

unraced: # all that race leaves out, and of most rooms what it does not, too
	go test -p $(ABREAST) -timeout $(UNIT_TIMEOUT) $$(go list ./... | grep -v -E '/internal/($(RACED_ONCE))$$')
	go test -p $(ABREAST) -timeout $(UNIT_TIMEOUT) -run '$(UNRACED_TESTS)' $$(go list ./... | grep -E '/internal/($(RACED_ONCE))$$')

# Of one goroutine the race detector finds nothing, and takes its time. So it looks at no room that starts none, and at no
# test that is about how many, how large or how costly something is: those have run without it. Likewise the balancer's
# statistics, which are one goroutine on virtual time; its concurrent picks and its conformance suite run under it. Races of
# others' code that it is to keep quiet about are in test/race.suppressions.
race: export GORACE := suppressions=$(CURDIR)/test/race.suppressions
race:
	go test -race -timeout $(UNIT_TIMEOUT) -skip '$(UNRACED_TESTS)' $$(go list ./... | grep -v -E '/internal/($(UNRACED_ROOMS))$$')
	go test -race -timeout $(UNIT_TIMEOUT) -run 'Pick|Suite|Conform|Story' ./internal/balancer

e2e: build
	go test -tags integration -count 1 -timeout $(E2E_TIMEOUT) ./test/e2e

clean: ## Remove what was built, the pinned tools included.
	rm -rf bin .cache

$(LINT): tools/go.mod tools/go.sum
	scripts/setup --tools
