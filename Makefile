# `make help` lists what can be done here.
SHELL   := /bin/bash
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X main.version=$(VERSION)
LINT    := .cache/bin/golangci-lint

# Where the hot path is.
BENCHED := ./internal/balancer ./internal/http1 ./internal/meter ./internal/proxy ./internal/route ./internal/upstream

# Ages are counted on the monotonic clock and tests have their own bounds: these only end what hangs.
UNIT_TIMEOUT := 5m
E2E_TIMEOUT  := 20m
SOAK_TIMEOUT := 120m

.DEFAULT_GOAL := help
.PHONY: help run build check test bench bench-smoke microbench soak mutants fmt fmt-check vet lint unit race e2e clean

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

check: fmt-check vet lint unit ## Format, vet, lint, unit tests: fast; no network once the lint tool is built.

test: ## Everything, from a clean clone: set up, check, race detector, end-to-end tests.
	scripts/setup
	$(MAKE) check race e2e

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

unit: # seeds of the fuzz targets included
	go test -timeout $(UNIT_TIMEOUT) ./...

# The balancer's statistics are one goroutine on virtual time: there is nothing for the race detector to find in
# them, and they would take it minutes. Its concurrent picks, and its conformance suite, run under it too.
race:
	go test -race -timeout $(UNIT_TIMEOUT) $$(go list ./... | grep -v '/internal/balancer$$')
	go test -race -timeout $(UNIT_TIMEOUT) -run 'Pick|Suite|Conform|Story' ./internal/balancer

e2e: build
	go test -tags integration -count 1 -timeout $(E2E_TIMEOUT) ./test/e2e

clean: ## Remove what was built, the pinned tools included.
	rm -rf bin .cache

$(LINT): tools/go.mod tools/go.sum
	scripts/setup --tools
