# What developers and CI run.
default:
    @just --list

# Format, lints and unit tests: before every commit.
check:
    cargo fmt --all --check
    cargo clippy --features midplane/redis --workspace --all-targets --locked -- -D warnings
    cargo test --features redis --locked --lib

# Everything, as CI does; `just test rust`, `just test js`, `just test python`, `just test browser`, `just test operate` for one suite.
test suite="all":
    scripts/test.sh {{ if suite == "all" { "" } else { "--only " + suite } }}

# One node with the embedded backplane at http://127.0.0.1:8000.
run *arguments:
    cargo run --release -- {{ arguments }}

# One nats-server with JetStream and two nodes on it, at ports 8000 and 8001; ends with ctrl-c.
up:
    scripts/up.sh

# The cluster of compose.yaml in containers, used and broken; needs Docker, or root to install it.
smoke *arguments:
    scripts/smoke.sh {{ arguments }}

# The benchmarks; bench/README.md says what they mean.
bench *arguments="all":
    cargo run --release -p midplane-bench -- {{ arguments }}

# Break a cluster on purpose and judge what came of it, seed by seed: `just faults 1 2 3`; bench/README.md names the whole proof.
faults *arguments="--seeds 1..11":
    cargo build --release --locked
    cargo run --release --locked -p midplane-faults -- run {{ arguments }}

# The same schedule again, with everything that it leaves behind kept in target/faults.
faults-replay seed *arguments:
    cargo build --release --locked
    cargo run --release --locked -p midplane-faults -- run {{ seed }} --keep {{ arguments }}

# Fuzz one target for some seconds (needs nightly and cargo-fuzz); without a target: list them.
fuzz target="" seconds="60":
    {{ if target == "" { "cargo fuzz list" } else { "cargo +nightly fuzz run " + target + " -- -max_total_time=" + seconds } }}

# Licences, sources, advisories and duplicate versions; scripts/test.sh does it too.
deny:
    scripts/install-tools.sh deny
    PATH="$PWD/.tools/bin:$PATH" cargo deny --locked check

# What the tests need, into .tools/ (test.sh does it too).
tools:
    scripts/install-tools.sh
