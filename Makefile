# The commands that users and CI rely on; `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export CARGO_TERM_COLOR ?= auto
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET)/release/truststram
BENCHES := $(sort $(patsubst benches/%.sh,bench-%,$(wildcard benches/*.sh)))
STEP := @scripts/step.sh

# The policies build in a workspace of their own, for the wasm target.
PLUGINS := $(wildcard plugins/Cargo.toml)
IN_PLUGINS := --manifest-path plugins/Cargo.toml

# nextest where it is installed: faster, and each test in its own process.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
ifdef NEXTEST
RUN_TESTS := cargo nextest run --workspace --locked --no-fail-fast --status-level slow
else
RUN_TESTS := cargo test --workspace --locked --no-fail-fast --tests
endif

.NOTPARALLEL:
.PHONY: help setup plugin-tools conformance-data conformance build serve test check tests soak bench audit fmt $(BENCHES)

help:
	@echo "make setup    install what a build needs and this host lacks"
	@echo "make serve    build in release and serve the digits example"
	@echo "make test     everything that .ci/run runs, cheap checks first"
	@echo "make conformance  the public tests of HTTP caches; needs node and npm"
	@echo "make soak     the same tests with their long counts"
	@echo "make bench    every published comparison; each alone: $(or $(BENCHES),none yet)"
	@echo "make audit    advisories, licences and bans of the libraries in use"
	@echo "make fmt      format the code"

setup:
	@scripts/setup.sh

build: setup
	@cargo build --release --locked

serve: build
	@exec $(BINARY) serve --example digits

test: check tests

# Nothing here runs the engine: format, lints and documentation, cheapest first.
check: setup
	$(STEP) format cargo fmt --all --check
ifdef PLUGINS
	$(STEP) format-plugins cargo fmt --all $(IN_PLUGINS) --check
endif
	$(STEP) lints cargo clippy --workspace --all-targets --locked -- -D warnings
ifdef PLUGINS
	$(STEP) lints-plugins cargo clippy $(IN_PLUGINS) --workspace --locked \
		--target wasm32-unknown-unknown -- -D warnings
endif
	$(STEP) documentation env RUSTDOCFLAGS=-Dwarnings \
		cargo doc --workspace --no-deps --locked --quiet

# What builds the example plugins in C, Python and JavaScript, for the tests.
plugin-tools:
	@PLUGIN_TOOLS=target/plugin-tools scripts/plugin-tools.sh

# The test cases of ONNX's own operators, which the tests of the model crate run.
conformance-data:
	@scripts/onnx-conformance.sh

# The public tests of HTTP caches, against the cache of the gateway; not part of CI, for they need
# node and take half a minute.
conformance: build
	$(STEP) conformance scripts/cache-suite.sh

# `--workspace` in every step keeps the features equal, so that no library is built twice.
tests: setup plugin-tools conformance-data
	$(STEP) tidy cargo test --workspace --locked --quiet --test tidy
ifdef PLUGINS
	$(STEP) tests-plugins cargo test $(IN_PLUGINS) --workspace --locked --quiet
endif
	$(STEP) tests $(RUN_TESTS)
	$(STEP) examples-in-documentation cargo test --workspace --locked --quiet --doc

# Tests read TRUSTSTRAM_SOAK and run their full counts instead of a seeded share.
soak: export TRUSTSTRAM_SOAK = 1
soak: tests

bench: $(BENCHES)
	@$(if $(BENCHES),echo "results: benches/results/",echo "no comparison in benches/ yet")

$(BENCHES): bench-%: benches/%.sh build
	$(STEP) $@ benches/$*.sh

audit:
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --locked check; \
	else \
		echo "audit skipped: install cargo-deny with: cargo install --locked cargo-deny"; \
	fi

fmt: setup
	@cargo fmt --all
ifdef PLUGINS
	@cargo fmt --all $(IN_PLUGINS)
endif
