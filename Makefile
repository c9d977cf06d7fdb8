# `make demo` and `make test` work on a bare machine with make and cargo: what else they need, `deps` installs.

# Where rustup puts cargo, for a shell that was opened before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

# In CI a stale Cargo.lock is an error.
CARGO_FLAGS := $(if $(CI),--locked)

.DEFAULT_GOAL := help
.PHONY: help deps build demo test test-versions lint doc docs side-by-side bench bench-apply bench-audit bench-driver bench-gate bench-verify test-sqlx-cli

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target about; do \
		printf '%-18s %s\n' "$$target" "$$about"; done

deps: ## install what is missing: PostgreSQL with contrib and HypoPG, libclang, a C compiler, pgbouncer
	@scripts/deps.sh

build: deps ## release build: target/release/dbtune
	cargo build --release $(CARGO_FLAGS)

demo: build ## the whole job on a private throwaway PostgreSQL
	target/release/dbtune demo

# The integration tests come last, so that their summary closes the output.
test: lint doc ## format, lints, documentation and all tests
	cargo test --doc $(CARGO_FLAGS)
	cargo test --lib --bins --tests $(CARGO_FLAGS)

test-versions: deps ## integration tests on each server of DBTUNE_PG_BINS="/opt/pg16/bin /opt/pg17/bin …"
	@DBTUNE_PG_BINS="$(DBTUNE_PG_BINS)" scripts/test-versions.sh

lint: deps ## format and clippy, warnings refused
	cargo fmt --check
	cargo clippy --all-targets $(CARGO_FLAGS) -- -D warnings

doc: deps
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps $(CARGO_FLAGS)

docs: deps ## generate docs/*.md and the crate documentation anew
	DBTUNE_UPDATE_DOCS=1 cargo test --test it $(CARGO_FLAGS) docs::
	$(MAKE) doc

side-by-side: deps ## splinter (SPLINTER_SQL=…), pgrls and dbtune over the same databases; WRITE=1 writes docs/other-linters.md
	scripts/side-by-side.sh $(if $(WRITE),docs/other-linters.md)

bench: deps ## benchmarks of dbtune's own hot paths
	cargo bench --bench hot_paths $(CARGO_FLAGS)

bench-audit: deps ## time and memory of an audit of 10,000 tables with 50,000 policies, and of a half and a quarter
	cargo bench --bench audit_scale $(CARGO_FLAGS)

test-sqlx-cli: build ## sqlx-cli and dbtune in turn on one folder and the empty database DATABASE_URL; SQLX names sqlx-cli
	@scripts/sqlx-cli.sh

bench-apply: deps ## the long tests of apply and rollback: kills, crashes, a full disk, what writers feel
	cargo test --release --test it $(CARGO_FLAGS) -- --ignored --nocapture --test-threads 1 migrate_harness:: migrate_blows:: migrate_platform::

bench-driver: deps ## dbtune's driver beside pgbench on one server, in turns; DBTUNE_DRIVER_ROUNDS (21)
	cargo bench --bench driver $(CARGO_FLAGS)

bench-gate: deps ## the gate's error rates on a server and in simulation; DBTUNE_GATE_RUNS (100) of DBTUNE_GATE_SECONDS (60) each
	cargo test --release --lib --test it $(CARGO_FLAGS) -- --ignored --nocapture --test-threads 1 bench_gate:: simulation::

bench-verify: deps ## whether verify can be fooled: generated changes against the truth; DBTUNE_VERIFY_CHANGES (a number, or words)
	cargo test --release --test it $(CARGO_FLAGS) -- --ignored --nocapture --test-threads 1 verify_bench:: verify_rewrites::
