# Recipes for people; CI runs .ci/run. `pip install rust-just` brings just.

# What changes most often: format, lints and tests of everything that needs no root.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --features muster-tests/machines -- -D warnings
    cargo test --workspace

# Writes the generated files anew: crds/yaml and golden outputs.
generate:
    UPDATE_CRDS=1 cargo test -p muster-crds
    UPDATE_EXPECT=1 cargo test --workspace

# Real Debian machines in systemd-nspawn (needs root).
machines *FILTER:
    bash tests/tools/prepare.sh
    cargo build --bin muster --bin muster-agent
    cargo test -p muster-tests --features machines --test machines -- {{FILTER}}

# The quickstart with 20 and with 1,000 fake machines: prints how long and how much memory.
quickstart:
    cargo build --bin muster
    bash tests/tools/quickstart.sh

# What planning costs at 1,000, 10,000 and 100,000 machines (docs/figures.md); `--short` leaves the last out.
bench *ARGUMENTS:
    cargo bench -p muster-planner --bench scale -- {{ARGUMENTS}}

# What the controller holds of a fleet, and what a pass costs.
bench-fleet *ARGUMENTS:
    cargo bench -p muster-fleet --bench scale -- {{ARGUMENTS}}

# How fast the embedded API is, beside raw SQLite on the same disk: the table in docs/api.md.
api-bench:
    cargo build -p muster-apiserver --examples
    bash -c 'ulimit -n 8192 && cargo run -p muster-apiserver --example bench'

# The embedded API, killed 200 times under load, and 200 power failures.
api-crash:
    CRASHES=200 cargo test -p muster-apiserver --test crash
    CRASHES=200 cargo test -p muster-apiserver --test it power

# What people see in kubectl, to the letter.
api-kubectl:
    cargo test -p muster-apiserver --features kubectl --test kubectl

# Server-side apply beside Kubernetes' own library, which tests/tools/prepare.sh installs with Go.
api-merge CASES='10000':
    PROPTEST_CASES={{CASES}} cargo test -p muster-apiserver --features oracle --lib oracle

# Storms: so many seeds on all processors. One seed again: target/debug/storm --seed S --events FILE.
storm N='20':
    cargo build --bin storm
    target/debug/storm {{N}}

# Everything that CI does.
ci:
    bash .ci/run
