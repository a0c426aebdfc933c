# Thin aliases of the CMake presets. `make` lists them. Everything a fresh Debian 12 needs beyond git,
# make and a compiler is installed by .ci/deps.
.DEFAULT_GOAL := help
JOBS ?= $(shell nproc)
build = cmake --preset $(1) >build/$(1).configure.log 2>&1 || { cat build/$(1).configure.log; exit 1; }; \
        cmake --build --preset $(1) -j $(JOBS) -- --quiet

.PHONY: help deps demo demo-proof test check-faults check-mutants dev release asan tsan fuzz coverage bench bench-peers fmt fmt-check tidy lint \
        install dist deb check-packages deps-build clean docs soak

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

deps: ## install the build dependencies (Debian packages)
	@.ci/deps

deps-build:
	@.ci/deps build

build:
	@mkdir -p build

demo: deps build ## install, build, and watch a flood of real records go through weir
	@$(call build,release)
	@build/release/bin/weir-demo --bin-dir build/release/bin

demo-proof: deps build ## show that the demo's judge catches a server that acknowledges too early
	@$(call build,release)
	@tests/faults/show_judge_catches.sh

test: deps build ## install, build, run all tests but the long suites
	@$(call build,dev)
	@.ci/ctest dev

PLAN ?= quick
FAULTS ?=
check-faults: deps build ## break a real server in every way we know; PLAN=quick (minutes) or full (hours, resumable)
	@$(call build,release)
	@$(call build,killpoints)
	@/usr/bin/python3 tests/faults/run.py --bin-dir build/release/bin --build killpoints=build/killpoints/bin --plan $(PLAN) $(FAULTS)

check-mutants: deps build ## servers broken on purpose must be caught by the fault suite (an hour or so)
	@$(call build,release)
	@/usr/bin/python3 tests/faults/mutants.py --bin-dir build/release/bin $(FAULTS)

dev: deps build ## debug build, warnings are errors
	@$(call build,dev)

release: deps build ## optimised build in build/release/bin
	@$(call build,release)

asan: deps build ## unit and black-box tests under AddressSanitizer and UBSan
	@$(call build,asan)
	@.ci/ctest asan -L 'unit|sim|blackbox|fuzz'

# One test at a time: a server under TSan keeps both cores busy. RocksDB is not instrumented, see tests/tsan.supp.
tsan: deps build ## unit, simulation, black-box tests and the kills of the demo under ThreadSanitizer
	@$(call build,tsan)
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp history_size=4 exitcode=66 log_path=$(CURDIR)/build/tsan/race" \
	    .ci/tsan build/tsan

fuzz: deps build ## every fuzz target for FUZZ_SECONDS (60), or until FUZZ_RUNS executions are in the ledger
	@$(call build,fuzz)
	@.ci/fuzz build/fuzz

coverage: deps build ## line and branch coverage of the unit tests
	@$(call build,coverage)
	@.ci/ctest coverage -L 'unit|sim|fuzz'
	@.ci/coverage build/coverage

soak: deps build ## the long suites (label nightly)
	@$(call build,release)
	@.ci/ctest release -L nightly

bench: deps build ## weir against the raw disk and the loopback; see bench/README.md
	@$(call build,release)
	@bench/run build/release/bin
	@/usr/bin/python3 bench/peers/run.py --bin build/release/bin --set raw $(BENCH)

# Peers come from Debian and from the registries of their languages, see bench/peers/install.
PEERS_DIR ?= build/peers
BENCH ?=
bench-peers: deps build ## install the peers and run all side by side; BENCH='--set short' (hours without)
	@bench/peers/install $(PEERS_DIR)
	@$(call build,release)
	@/usr/bin/python3 bench/peers/run.py --bin build/release/bin --peers-dir $(PEERS_DIR) $(BENCH)

fmt: ## format all sources
	@git ls-files '*.c' '*.h' '*.cpp' | xargs clang-format -i

fmt-check: ## fail when a source is not formatted
	@git ls-files '*.c' '*.h' '*.cpp' | xargs clang-format --dry-run -Werror

tidy: deps build ## clang-tidy over all sources, warnings are errors
	@$(call build,dev)
	@.ci/tidy build/dev

lint: fmt-check tidy ## both

# The prefix is part of what is built: the unit and its man pages name it.
PREFIX ?= /usr/local
prefix ?= $(PREFIX)
install: deps-build build ## install under PREFIX (/usr/local), honours DESTDIR
	@cmake --preset install -DCMAKE_INSTALL_PREFIX=$(prefix) >build/install.configure.log 2>&1 || \
	    { cat build/install.configure.log; exit 1; }
	@cmake --build --preset install -j $(JOBS) -- --quiet
	@DESTDIR=$(DESTDIR) cmake --install build/install

dist: build ## source tarball: build/weir-VERSION.tar.gz
	@packaging/dist

deb: build ## Debian packages: build/deb/*.deb, checked by lintian
	@.ci/deps packages
	@nice -n 19 packaging/deb

check-packages: deb ## install, use, upgrade, remove and purge the packages in a fresh Debian (needs root)
	@.ci/deps check-packages
	@/usr/bin/python3 tests/package/debian.py build/deb

clean: ## remove all builds
	@rm -rf build
