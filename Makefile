# The commands of this project. Each installs what it needs first (Debian, Ubuntu), builds in the one
# profile there is (release; `make test` with few optimisations of our own crates) in a folder outside the checkout, and
# says how many minutes each stage took.
#
#   make demo [DIR=/some/tree]   a tree saved over NFS, the gateway killed, its disk lost, everything back
#   make dr-demo                 a site lost while a client writes, its runbook run at another one (needs root)
#   make test                    formatting, lints, all tests, doc tests
#   make nightly                 the same at length, and the demo; goes on where it was ended; reports in docs/reports/
#   make package                 a Debian package, below the target folder
#   make docs                    the book, from docs/book, below the target folder
#   make bench                   all benches: speeds beside peers and bounds of the same run
#   eval "$(make -s env)"        for cargo by hand: what the other commands tell it

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidegate
export CARGO_TARGET_DIR ?= $(CACHE)/target
# rustup installs cargo where a login shell finds it, which not every caller is.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Lies outside the checkout too: cargo compiles RocksDB again where the name of the compiler is another one.
export CXX := $(CACHE)/cxx

STAGE := packaging/stage.sh
CARGO := cargo
# What stands in it makes compiling for tests short.
FOR_TESTS := --config packaging/tests.toml

.PHONY: demo dr-demo test nightly bench package docs env needs needs-of-tests build nfswalk

demo: build nfswalk
	@$(STAGE) demo python3 integration/demo/demo.py \
		--tidegate $(CARGO_TARGET_DIR)/release/tidegate \
		--nfswalk $(CARGO_TARGET_DIR)/nfswalk \
		--cache $(CACHE)/demo $(if $(DIR),--dir '$(DIR)')

dr-demo: build nfswalk
	@$(STAGE) dr-demo python3 integration/demo/dr.py \
		--tidegate $(CARGO_TARGET_DIR)/release/tidegate \
		--nfswalk $(CARGO_TARGET_DIR)/nfswalk $(if $(RATE),--rate '$(RATE)')

test: needs-of-tests
	@$(STAGE) formatting $(CARGO) fmt --all --check
	@$(STAGE) lints $(CARGO) clippy --release --workspace --all-targets -- -D warnings
	@$(STAGE) compile $(CARGO) $(FOR_TESTS) test --release --workspace --no-run
	@$(STAGE) 'doc tests' $(CARGO) $(FOR_TESTS) test --release --workspace --doc
	@$(STAGE) tests python3 integration/lanes.py $(FOR_TESTS) --failures --alone \
		linux_client power_cut crash_sweep objects tidegate_gateway tidegate_replicator s3_clients

nightly: needs-of-tests build nfswalk
	@$(STAGE) needs packaging/setup.sh nightly
	@$(STAGE) nightly integration/nightly.sh $(CACHE)/demo

# Profile bench is profile release, so nothing is compiled twice; the bench of NFS starts the program.
bench: build
	@$(STAGE) bench $(CARGO) bench --workspace --bench '*'

package: build
	@$(STAGE) package packaging/package.sh $(CARGO_TARGET_DIR)/package

docs:
	@$(STAGE) docs packaging/docs.sh $(CARGO_TARGET_DIR)/book

env:
	@echo "export CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' CXX='$(CXX)'"

needs:
	@$(STAGE) needs packaging/setup.sh
	@install -D packaging/cxx $(CXX)

needs-of-tests:
	@$(STAGE) needs packaging/setup.sh tests
	@install -D packaging/cxx $(CXX)

# All features that any member asks for: so nothing is compiled twice.
build: needs
	@$(STAGE) build $(CARGO) build --release --workspace

nfswalk: needs
	@mkdir -p $(CARGO_TARGET_DIR)
	@$(STAGE) client cc -std=c11 -O2 -Wall -Wextra -pthread -o $(CARGO_TARGET_DIR)/nfswalk \
		integration/demo/nfswalk.c $$(pkg-config --cflags --libs libnfs libcrypto)
