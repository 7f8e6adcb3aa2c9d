//! A few seeds as part of every test run; `just faults` runs more, and longer.

use std::path::Path;
use std::process::Command;

/// They kill, stop and pause nodes and servers of NATS, depose leaders, harm links of every kind, swallow deliveries, make readers
/// slow, and set clocks where libfaketime is installed.
const SHORT: [&str; 2] = ["7", "12"];
/// This one rolls all stores back, for which there is room in half a minute, and everybody goes on in calm afterwards.
const LONGER: &str = "8";

/// Runs seeds, and says what they found.
fn run(seeds: &[&str], how: &[&str]) {
    let faults = Path::new(env!("CARGO_BIN_EXE_midplane-faults"));
    let midplane = faults.with_file_name("midplane");
    assert!(midplane.exists(), "the server is not built: cargo build");
    let run = Command::new(faults)
        .args(["run", "--clients", "12", "--server"])
        .arg(midplane)
        .arg("--out")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults"))
        .args(how)
        .args(seeds)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
}

/// Clients of official libraries take part where their suite is installed (`scripts/test.sh`).
fn official() -> &'static str {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sdk/js/node_modules");
    if suite.exists() { "3" } else { "0" }
}

#[test]
fn a_few_seeds_find_nothing() {
    run(&SHORT, &["--seconds", "10", "--jobs", "2"]);
    let official = official();
    run(&[LONGER], &["--seconds", "30", "--sdk", official, "--sockets", official, "--settle", "30"]);
}
