//! A few seeds as part of every test run; `just faults` runs more, and longer.

use std::path::Path;
use std::process::Command;

/// They kill, stop and pause nodes and servers of NATS, depose leaders, harm links of every kind, swallow deliveries, make readers
/// slow, and set clocks where libfaketime is installed.
const SEEDS: [&str; 2] = ["7", "12"];

#[test]
fn a_few_seeds_find_nothing() {
    let faults = Path::new(env!("CARGO_BIN_EXE_midplane-faults"));
    let midplane = faults.with_file_name("midplane");
    assert!(midplane.exists(), "the server is not built: cargo build");
    let run = Command::new(faults)
        .args(["run", "--seconds", "10", "--clients", "12", "--jobs", "2", "--server"])
        .arg(midplane)
        .arg("--out")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults"))
        .args(SEEDS)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
}
