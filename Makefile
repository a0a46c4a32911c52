# The one entrance for people and for CI. Each target does its own set-up, and needs to find nothing
# but a Rust toolchain.
#
# CI=1 refuses a Cargo.lock that is not up to date. CARGO_TARGET_DIR is honoured.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test check sim install e2e-arrows e2e-flink bench bench-flink clean-run build
MAKEFLAGS += --no-builtin-rules --no-print-directory
export PYTHONDONTWRITEBYTECODE := 1

bin := $(abspath $(or $(CARGO_TARGET_DIR),target))/debug
release := $(abspath $(or $(CARGO_TARGET_DIR),target))/release
cargo_flags := $(if $(CI),--locked)
binaries := --bin mainspring --bin mainspring-datafusion --bin mainspring-flink

# The build tells what it compiles, and is silent when there is nothing to do. A terminal keeps its
# colours through the pipe.
quietly = { [ ! -t 2 ] || export CARGO_TERM_COLOR=always; $(1) 2>&1 | sed -u '/^[^A-Za-z]*Finished /d' >&2; }
with_tools = tools=$$(tools/setup tools); PATH="$$tools:$$PATH"

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

run: build ## build, then run the example application examples/flights/carriers.sql on this machine
	@$(bin)/mainspring run-application -t local examples/flights/carriers.sql

test: build ## all tests; the last line is the sum. ARGS='…' goes to cargo nextest run
	@$(with_tools); etcd=$$(tools/setup etcd); s3=$$(tools/setup s3); PATH="$$etcd:$$s3:$$PATH"; exec tools/run_tests.py --bin $(bin) $(cargo_flags) -- $(ARGS)

check: ## formatting, contract, licences and bans, absences, clippy, documentation; a warning is an error
	@tools/setup build
	$(with_tools); \
	cargo fmt --all --check; \
	buf lint; \
	tag=$$(git describe --tags --abbrev=0 2>/dev/null || true); \
	if [ -n "$$tag" ]; then buf breaking --against ".git#tag=$$tag"; \
	else echo 'check: no release is tagged yet, so there is no contract to stay compatible with' >&2; fi; \
	cargo-deny check bans licenses sources; \
	python3 tools/absences; \
	tools/one-feature-set $(cargo_flags); \
	cargo clippy $(cargo_flags) --workspace --all-targets -- -D warnings; \
	RUSTDOCFLAGS='-D warnings' cargo doc $(cargo_flags) --workspace --no-deps

sim: build ## three hosts in one process, from seeds, with faults; then every planted bug. ARGS='--seed 7 --trace' for one
	@$(call quietly,cargo build $(cargo_flags) --workspace $(binaries) --example hosts)
	@if [ -n '$(ARGS)' ]; then exec $(bin)/examples/hosts $(ARGS); fi; \
	$(call quietly,cargo build $(cargo_flags) --release --workspace --example hosts); \
	$(release)/examples/hosts --seeds 1000; \
	$(bin)/examples/hosts --seeds 100 --twice; \
	$(bin)/examples/hosts --seeds 500 --every-bug

install: ## a release build, installed with completions and man pages: PREFIX=/usr/local, DESTDIR= for packages
	@tools/setup build
	@$(call quietly,cargo build $(cargo_flags) --release --workspace --no-default-features $(binaries))
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' tools/install $(release)

e2e-arrows: ## a process killed before and after every arrow of one run, with the record on etcd
	@$(MAKE) test ARGS="--run-ignored only -E 'package(e2e) and binary(arrows)'"

.PHONY: e2e-upgrade
e2e-upgrade: build ## hosts of an earlier build are replaced by this one's under applications. FROM=HEAD~1
	@EARLIER_BUILD=$$(tools/earlier-build '$(or $(FROM),HEAD~1)') \
	$(MAKE) test ARGS="--run-ignored only -E 'package(e2e) and binary(upgrade)'"

.PHONY: e2e-compose
e2e-compose: build ## deploy/compose in containers: up, a run, a power cut of a host, a run, down
	@tools/setup docker
	@deploy/compose/image $(bin)
	@$(MAKE) test ARGS="--run-ignored only -E 'package(e2e) and binary(compose)'"

e2e-flink: build ## 103 kills on real Flink: every part at every moment, and at drawn instants; over half an hour. ARGS='jobmanager running' for some
	@$(bin)/mainspring setup flink >/dev/null
	@$(call quietly,cargo build $(cargo_flags) --workspace $(binaries) --example flink_kills)
	@$(bin)/examples/flink_kills $(ARGS)

.PHONY: chaos
chaos: build ## 200 drawn faults under three hosts and three members of etcd; about an hour. ARGS='--cycles 20 --seed 7 --only freeze-host'
	@[[ ' $(ARGS) ' != *' --flink '* ]] || $(bin)/mainspring setup flink >/dev/null
	@[[ ' $(ARGS) ' != *' --network '* ]] || tools/setup network
	@$(call quietly,cargo build $(cargo_flags) --workspace $(binaries) --example chaos)
	@etcd=$$(tools/setup etcd); PATH="$$etcd:$$PATH"; exec $(bin)/examples/chaos $(ARGS)

bench: ## a release build, then how fast it is on this machine (docs/benchmarks.md)
	@tools/setup build
	@$(call quietly,cargo build $(cargo_flags) --release --workspace $(binaries) --example transfer --example past --example submits --example fenced --example jvm_arguments)
	@etcd=$$(tools/setup etcd); PATH="$$etcd:$$PATH"; exec tools/bench.py --bin $(release) $(ARGS)

bench-flink: ## Flink jobs through us, beside Flink by itself, a release build; ARGS='--only throughput' for one section
	@tools/setup build
	@$(call quietly,cargo build $(cargo_flags) --release --workspace $(binaries) --example jvm_arguments)
	@$(release)/mainspring setup flink >/dev/null
	@python3 tools/bench_flink --bin $(release) --jar $$(tools/setup flink-examples) $(ARGS)

clean-run: ## what a newcomer waits for: clone what is committed, fetch, build and run it, with the clock running
	@there=$$(mktemp -d); trap 'rm -rf "$$there"' EXIT; \
	git clone --quiet . "$$there/clone"; \
	time env -u CARGO_TARGET_DIR CARGO_HOME="$$there/cargo" $(MAKE) -C "$$there/clone" run

# `build` is not named in `help`. It makes the binaries in the profile that everything uses, and of
# the whole workspace as tests are: with fewer packages chosen, cargo would choose fewer features,
# and compile DataFusion again for the tests.
build:
	@tools/setup build
	@$(call quietly,cargo build $(cargo_flags) --workspace $(binaries))
