# The list of recipes.
default:
    @just --list

# An app and a gateway in front of it, on this machine.
run *ARGS:
    cargo run --release -- dev {{ARGS}}

# Every test.
test:
    cargo test

# Each fuzz target for so many seconds, with inputs of the clock's own; TARGET is a part of a test's name.
fuzz SECONDS TARGET="":
    IGNITE_FUZZ_SECONDS={{SECONDS}} IGNITE_FUZZ_SEED=random cargo test --profile fuzz --test fuzz -- --nocapture {{TARGET}}

# This gateway beside the peers that are installed.
bench *ARGS:
    cargo bench --bench compare -- {{ARGS}}

# The steps of one request, each alone.
steps:
    cargo bench --bench steps

# Formatting and lints.
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# Licences, bans, sources.
deny:
    cargo deny check licenses bans sources

# Everything that a change must pass.
ci:
    .ci/run
