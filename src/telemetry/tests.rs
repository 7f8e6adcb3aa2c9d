//! What the metrics promise.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::backplane::GapCause;
use crate::settings::Settings;

fn telemetry() -> Arc<Telemetry> {
    of_namespaces("[[channel.namespaces]]\nname = \"chat\"\n[[channel.namespaces]]\nname = \"news\"\n")
}

fn of_namespaces(toml: &str) -> Arc<Telemetry> {
    Telemetry::new(&Settings::from_toml(toml).unwrap().channel.namespaces)
}

#[test]
fn every_series_is_there_at_zero_before_anything_happens() {
    let text = telemetry().render();
    for series in [
        "midplane_gaps_total{cause=\"leader_elected\"} 0",
        "midplane_connections{transport=\"websocket\",protocol=\"protobuf\"} 0",
        "midplane_connections_closed_total{transport=\"websocket\",code=\"3012\"} 0",
        "midplane_commands_total{protocol=\"json\",command=\"sub_refresh\",result=\"disconnect\"} 0",
        "midplane_publications_total{source=\"http\",namespace=\"chat\"} 0",
        "midplane_channels{namespace=\"(default)\"} 0",
        "midplane_recovery_duration_seconds_count{source=\"tail\"} 0",
        "midplane_http_requests_total{route=\"api\",method=\"post\",status=\"4xx\"} 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
    }
    assert!(text.contains("midplane_build_info{version=\"0.1.0\""));
    assert!(text.contains("process_resident_memory_bytes"));
}

#[test]
fn every_metric_is_exported_with_its_help_and_nothing_else_is() {
    let text = telemetry().render();
    let exported: HashSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_whitespace().next()).collect();
    let declared: HashSet<_> = names::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(declared.len(), names::ALL.len(), "two metrics have one name");
    let ours: HashSet<_> = exported.iter().copied().filter(|name| !name.starts_with("process_")).collect();
    assert_eq!(ours, declared);
    for metric in names::ALL {
        let kind = match metric.kind {
            names::Kind::Counter => "counter",
            names::Kind::Gauge => "gauge",
            names::Kind::Histogram(_) => "histogram",
        };
        assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == names::Kind::Counter, "{}", metric.name);
    }
}

#[test]
fn handles_count_into_the_series_of_their_labels() {
    let telemetry = telemetry();
    telemetry.relay.gaps.of(GapCause::Audit).increment(3);
    let command = (Protocol::Protobuf, Command::History, Outcome::Error);
    telemetry.clients.commands.of(command).increment(1);
    telemetry.http.connections_closed.of((Transport::WebSocket, 3008.into())).increment(1);
    telemetry.http.connections_closed.of((Transport::WebSocket, 4123.into())).increment(1);
    telemetry.relay.publications.of("news").of(Source::Nats).increment(2);
    telemetry.relay.publications.of("nobody-knows-it").of(Source::Nats).increment(1);
    telemetry.relay.delivery_duration.of("chat").record(Duration::from_millis(3));
    let text = telemetry.render();
    for series in [
        "midplane_gaps_total{cause=\"audit\"} 3",
        "midplane_commands_total{protocol=\"protobuf\",command=\"history\",result=\"error\"} 1",
        "midplane_connections_closed_total{transport=\"websocket\",code=\"3008\"} 1",
        "midplane_connections_closed_total{transport=\"websocket\",code=\"other\"} 1",
        "midplane_publications_total{source=\"nats\",namespace=\"news\"} 2",
        "midplane_publications_total{source=\"nats\",namespace=\"(other)\"} 1",
        "midplane_delivery_duration_seconds_bucket{namespace=\"chat\",le=\"0.0025\"} 0",
        "midplane_delivery_duration_seconds_bucket{namespace=\"chat\",le=\"0.005\"} 1",
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
    }
}

#[test]
fn nodes_in_one_process_count_each_for_itself() {
    let (one, other) = (telemetry(), telemetry());
    one.backplane.reconnects.increment(1);
    assert!(one.render().contains("midplane_backplane_reconnects_total 1"));
    assert!(other.render().contains("midplane_backplane_reconnects_total 0"));
}

#[test]
fn a_node_stays_within_its_budget_of_series() {
    let text = telemetry().render();
    let mut by_metric: HashMap<&str, usize> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        *by_metric.entry(line.split(['{', ' ']).next().unwrap()).or_default() += 1;
    }
    let series: usize = by_metric.values().sum();
    assert!(series < 2000, "{series} series: {by_metric:?}");
}

#[test]
fn a_namespace_costs_as_many_series_as_operators_are_told() {
    let series = |namespaces: usize| {
        let namespace =
            |name| format!("[[channel.namespaces]]\nname = \"of-{name}\"\nhistory_size = 10\nhistory_ttl = \"5m\"\n");
        let text = of_namespaces(&(0..namespaces).map(namespace).collect::<String>()).render();
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
    };
    assert_eq!(series(11) - series(1), 10 * 25);
}

#[test]
fn indexes_of_labels_are_their_places() {
    fn check<L: Label + std::fmt::Debug>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{label:?}");
        }
    }
    check::<GapCause>();
    check::<CloseCode>();
    check::<Verdict>();
    assert_eq!(StatusClass::of(404), StatusClass::ClientError);
}
