//! What a report looks like.

use super::{Finding, Report};

fn report() -> Report {
    let mut report = Report::default();
    report.push(Finding::ok("port", "127.0.0.1:8000 is free"));
    report.push(Finding::warning("secrets", "http_api.key has 6 bytes, fewer than 32", "make one"));
    report.push(Finding::skipped("NATS", "not used"));
    report
}

#[test]
fn a_report_says_what_was_found_and_what_to_do() {
    let expected = "\
ok       port         127.0.0.1:8000 is free
warning  secrets      http_api.key has 6 bytes, fewer than 32
                      -> make one
skipped  NATS         not used

0 failed, 1 warned, 1 ok, 1 skipped
";
    assert_eq!(report().to_text(), expected);
    assert!(report().is_well());
}

#[test]
fn machines_read_the_same() {
    let mut report = report();
    report.push(Finding::failed("JetStream", "not enabled", "switch it on"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["findings"][3]["verdict"], "failed");
    assert_eq!(json["findings"][3]["advice"], "switch it on");
    assert!(json["findings"][0].get("advice").is_none());
}
