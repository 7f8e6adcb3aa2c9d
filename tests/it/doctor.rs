//! `midplane doctor`: what it finds, what it says to do, and that it leaves everything as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use midplane::backplane::nats::examine::{Act, examine};
use midplane::canary;
use midplane::settings::Settings;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::nats_server::{NatsCluster, NatsServer};
use crate::support::node::Node;
use crate::support::process::Process;

/// Namespaces with and without history, and presence: everything that a node does.
const NAMESPACES: &str =
    r#"[{"name": "kept", "history_size": 10, "history_ttl": "1h", "presence": true, "join_leave": true}]"#;
const SECRET: &str = "3b1fd2a04e59cc7710a8f36e2d945b8c66";

/// What the doctor says, and its exit code.
struct Said {
    code: i32,
    report: Value,
    text: String,
}

impl Said {
    /// Lines about `about`, each with its verdict, what was found and what to do.
    fn about(&self, about: &str) -> Vec<(String, String, String)> {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let findings = self.report["findings"].as_array().unwrap().iter();
        let findings = findings.filter(|finding| finding["about"] == about);
        findings.map(|finding| (text(finding, "verdict"), text(finding, "found"), text(finding, "advice"))).collect()
    }

    #[track_caller]
    fn is(&self, about: &str, verdict: &str, words: &str) {
        let lines = self.about(about);
        let fits = |(is, found, _): &(String, String, String)| is == verdict && found.contains(words);
        assert!(lines.iter().any(fits), "no {verdict} about {about} with {words:?}:\n{}", self.text);
    }
}

/// What every node is asked about with.
const SETTINGS: [(&str, &str); 4] = [
    ("JWT_SECRET", SECRET),
    ("MAX_CONNECTIONS", "50"),
    ("FRONTEND_URL", "https://app.example.com"),
    ("MIDPLANE_CHANNEL__NAMESPACES", NAMESPACES),
];

async fn doctor(variables: &[(&str, String)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midplane"));
    command.args(["doctor", "--json"]).env_clear().kill_on_drop(true);
    command.envs(SETTINGS).env("SERVER_ID", "looked-at").env("PORT", "0");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = timeout(PATIENCE, command.output()).await.expect("ends in time").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text:?}, {}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(report["ok"], output.status.success(), "{text}");
    Said { code: output.status.code().unwrap(), report, text }
}

fn at(server: &NatsServer) -> (&'static str, String) {
    ("NATS_URL", server.url().to_string())
}

#[tokio::test]
async fn a_node_that_stands_alone_is_looked_at_without_nats() {
    let said = doctor(&[]).await;
    said.is("NATS", "skipped", "not used");
    said.is("open files", "ok", "enough for 50 clients");
    said.is("port", "ok", "is free");
    said.is("secrets", "ok", "set, long and different: 1");
    assert_eq!(said.code, 0, "{}", said.text);
    let said = doctor(&[("MAX_CONNECTIONS", "1000000000".to_owned())]).await;
    said.is("open files", "failed", "wants 1000000256");
    assert_eq!(said.code, 1);
}

#[tokio::test]
async fn a_taken_port_is_a_nodes_or_somebody_elses() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = doctor(&[("PORT", taken.local_addr().unwrap().port().to_string())]).await;
    said.is("port", "failed", "is taken by something that is no node");
    let node = Process::start("already-there", &[]).await;
    let port = node.address().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let said = doctor(&[("PORT", port)]).await;
    said.is("port", "ok", "is served by node already-there");
}

#[tokio::test]
async fn a_node_that_runs_with_other_settings_than_those_of_the_files_is_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, key) = (("MIDPLANE_HTTP__PORT", unused.to_string()), ("MIDPLANE_HTTP_API__KEY", SECRET.repeat(2)));
    let mut settings = SETTINGS.map(|(name, value)| (name, value.to_owned())).to_vec();
    settings.extend([port.clone(), key.clone()]);
    let _node = Process::start("looked-at", &settings).await;
    let with =
        async |other: (&'static str, &str)| doctor(&[port.clone(), key.clone(), (other.0, other.1.to_owned())]).await;

    doctor(&[port.clone(), key.clone()]).await.is("running", "ok", "looked-at was started with these settings");
    with(("JWT_SECRET", &SECRET.repeat(3))).await.is("running", "ok", "secrets apart");
    let said = with(("MAX_CONNECTIONS", "60")).await;
    said.is("running", "warning", "looked-at was started with other settings");
    assert_eq!(said.about("running")[0].2, "restart it");
    with(("MIDPLANE_HTTP_API__KEY", &SECRET.repeat(4))).await.is("running", "warning", "another API key");
    doctor(std::slice::from_ref(&port)).await.is("running", "skipped", "who has the API key");
}

#[tokio::test]
async fn secrets_that_others_can_read_are_named_and_none_is_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("api_key");
    fs::write(&file, "a key out of an example, long enough to be taken").unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(&file, 0o644);
    allow(directory.path(), 0o700);
    let named = [("MIDPLANE_HTTP_API__KEY_FILE", file.display().to_string())];
    let said = doctor(&named).await;
    assert!(!said.text.contains("has mode"), "others do not get into its folder: {}", said.text);
    allow(directory.path(), 0o755);
    let said = doctor(&named).await;
    said.is("secrets", "warning", "http_api.key looks like an example");
    said.is("secrets", "warning", "has mode 644");
    assert!(!said.text.contains(SECRET) && !said.text.contains("a key out of"), "{}", said.text);
    assert_eq!(said.code, 0, "warnings alone are no failure");
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_with_its_address() {
    let said = doctor(&[("NATS_URL", "nats://127.0.0.1:1".to_owned())]).await;
    said.is("NATS", "failed", "127.0.0.1:1");
}

#[tokio::test]
async fn a_server_without_jetstream_fails_with_what_to_do() {
    let server = NatsServer::with_config("accounts { A { users: [ {user: a, password: a-long-password} ] } }").await;
    let user = [("MIDPLANE_NATS__USER", "a".to_owned()), ("MIDPLANE_NATS__PASSWORD", "a-long-password".to_owned())];
    let said = doctor(&[&[at(&server)], &user[..]].concat()).await;
    said.is("JetStream", "failed", "not enabled");
    assert!(said.about("JetStream")[0].2.contains("jetstream"), "{}", said.text);
    assert_eq!(said.code, 1);
}

/// Lacks making streams, one bucket, presence, and the answers of JetStream to backends.
const RESTRICTED: &str = r#"
authorization { users: [
  { user: operator, password: an-operators-password }
  { user: gateway, password: a-gateways-password, permissions: {
    publish: { allow: ["midplane.>", "$KV.midplane_epochs.>", "$KV.midplane_nodes.>", "$KV.midplane_scaling.>",
      "$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.PURGE.*"],
      deny: ["midplane.pres.>"] },
    subscribe: { allow: ["midplane.>", "_INBOX.>", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.*"], deny: ["midplane.hb.*"] } } }
] }
"#;

#[tokio::test]
async fn what_is_not_permitted_is_named_with_what_to_allow() {
    let server = NatsServer::with_config(RESTRICTED).await;
    let user =
        [("MIDPLANE_NATS__USER", "gateway".to_owned()), ("MIDPLANE_NATS__PASSWORD", "a-gateways-password".to_owned())];
    let said = doctor(&[&[at(&server)], &user[..]].concat()).await;
    for (verdict, words, advice) in [
        ("failed", "may not publish to $JS.API.STREAM.CREATE.", "$JS.API.STREAM.CREATE.*"),
        ("failed", "may not publish to $JS.API.STREAM.UPDATE.", "$JS.API.STREAM.UPDATE.*"),
        ("failed", "may not publish to $KV.midplane_revocations.", "$KV.midplane_revocations.>"),
        ("failed", "may not publish to midplane.pres.", "midplane.>"),
        ("failed", "may not subscribe to midplane.hb.*", "midplane.>"),
        ("warning", "may not subscribe to $JS.EVENT.ADVISORY.STREAM.QUORUM_LOST.", "QUORUM_LOST.*"),
        ("warning", "may not publish to inboxes", "_INBOX.>"),
    ] {
        said.is("permissions", verdict, words);
        let lines = said.about("permissions");
        let line = lines.iter().find(|(_, found, _)| found.contains(words)).unwrap();
        assert!(line.2.contains(advice), "{line:?}");
    }
    assert_eq!(said.about("permissions").len(), 7, "{}", said.text);
    assert_eq!(said.code, 1);
}

/// Everything that streams hold, by name, as the server's monitoring tells it.
async fn held(server: &NatsServer) -> Vec<(String, Value)> {
    let page = server.monitor("/jsz?streams=true&config=true&consumers=true").await.unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    let streams = page["account_details"][0]["stream_detail"].as_array().cloned().unwrap_or_default();
    // Nodes write their entries, their words and their marks all the time: those are compared by configuration.
    let quiet = |name: &str| !(name.ends_with("_nodes") || name.ends_with("canary"));
    let mut streams: Vec<_> = streams
        .iter()
        .map(|stream| {
            let name = stream["name"].as_str().unwrap().to_owned();
            let state = if quiet(&name) { stream["state"].clone() } else { Value::Null };
            let consumers = stream["state"]["consumer_count"].clone();
            let told = json!({ "config": stream["config"], "state": state, "consumers": consumers });
            (name, told)
        })
        .collect();
    streams.sort_by(|(a, _), (b, _)| a.cmp(b));
    streams
}

#[tokio::test]
async fn looking_leaves_a_cluster_that_serves_as_it_was() {
    let server = NatsServer::start().await;
    let first = doctor(&[at(&server)]).await;
    first.is("streams", "ok", "0 are there, 7 are made by the first node");
    first.is("clock", "skipped", "there is none yet");
    first.is("permissions", "ok", "are permitted");
    assert!(held(&server).await.is_empty(), "nothing was made");

    let node = Process::start(
        "serving",
        &[
            at(&server),
            ("JWT_SECRET", SECRET.to_owned()),
            ("FRONTEND_URL", "https://app.example.com".to_owned()),
            ("MIDPLANE_CHANNEL__NAMESPACES", NAMESPACES.to_owned()),
        ],
    )
    .await;
    for number in 0..5 {
        server.publish_raw("midplane.pub.kept.a", b"", number.to_string().as_bytes()).await;
    }
    let before = held(&server).await;
    assert!(
        before.iter().any(|(name, told)| name == "MP_midplane_kept" && told["state"]["messages"] == 6),
        "{before:?}"
    );
    let said = doctor(&[at(&server)]).await;
    assert_eq!(held(&server).await, before);
    said.is("streams", "ok", "7 are there");
    said.is("clock", "ok", "give or take");
    said.is("JetStream", "ok", "streams 7 of no limit, consumers 0 of no limit");
    said.is("replicas", "ok", "nats.replicas = 1, servers seen: 1");
    said.is("permissions", "ok", "are permitted");
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(!node.log().contains("WARN") && !node.log().contains("ERROR"), "{}", node.log());
    let metrics = node.metrics().await.unwrap();
    let gaps = metrics.lines().filter(|line| line.starts_with("midplane_gaps_total{"));
    assert!(gaps.into_iter().all(|line| line.ends_with(" 0")), "{metrics}");
}

#[tokio::test]
async fn copies_are_weighed_against_the_servers_there_are() {
    let mut cluster = NatsCluster::start().await;
    let urls: Vec<_> = cluster.urls().iter().map(ToString::to_string).collect();
    let with = |copies: &str| [("NATS_URL", urls.join(",")), ("MIDPLANE_NATS__REPLICAS", copies.to_owned())];
    let said = doctor(&with("3")).await;
    said.is("replicas", "ok", "nats.replicas = 3, servers seen: 3");
    assert_eq!(said.about("NATS").len(), 3, "{}", said.text);
    doctor(&with("5")).await.is("replicas", "failed", "nats.replicas = 5, servers seen: 3");
    doctor(&with("1")).await.is("replicas", "warning", "nats.replicas = 1, servers seen: 3");
    cluster.servers[2].kill();
    let said = doctor(&with("3")).await;
    said.is("NATS", "warning", "is not reached");
    said.is("replicas", "failed", "servers seen: 2");
}

#[tokio::test]
async fn a_storage_that_cannot_be_changed_is_told_before_a_node_meets_it() {
    let server = NatsServer::start().await;
    let memory = [at(&server), ("MIDPLANE_NATS__STORAGE", "memory".to_owned()), ("JWT_SECRET", SECRET.to_owned())];
    drop(Process::start("in-memory", &memory).await);
    let said = doctor(&[at(&server)]).await;
    said.is("streams", "failed", r#"storage is "memory", should be "file""#);
}

#[tokio::test]
async fn people_read_the_same_as_machines() {
    let output = Command::new(env!("CARGO_BIN_EXE_midplane")).arg("doctor").env_clear().env("PORT", "0").output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("ok       settings     in order\n"), "{text}");
    assert!(text.trim_end().lines().last().unwrap().starts_with("0 failed, "), "{text}");
    assert!(Path::new("/proc/self/limits").exists() == text.contains("soft limit"), "{text}");
}

/// Whether the doctor's subject is what a node has subscribed to, as far as it names no channel, node or key.
fn is_tried_by(need: &str, heard: &str) -> bool {
    let stands_for_any = |token: &str| matches!(token, "*" | ">" | "_") || token.starts_with('%');
    let (mut needs, mut hears) = (need.split('.'), heard.split('.'));
    loop {
        match (needs.next(), hears.next()) {
            (Some(need), Some(_)) if stands_for_any(need) => return true,
            (Some(need), Some(heard)) if need == heard => {}
            (need, heard) => return need.is_none() && heard.is_none(),
        }
    }
}

#[tokio::test]
async fn every_subject_that_a_node_hears_is_tried_and_no_other() {
    let server = NatsServer::start().await;
    let toml = format!(
        r#"nats.servers = ["{}"]
        nats.replicas = 1
        client.allow_anonymous_connect_without_token = true
        channel.without_namespace = {{ allow_subscribe_for_client = true, allow_subscribe_for_anonymous = true }}
        channel.namespaces = [{{ name = "kept", history_size = 10, history_ttl = "1h", presence = true, join_leave = true,
            force_push_join_leave = true, allow_subscribe_for_client = true, allow_subscribe_for_anonymous = true }}]
        socketio.namespaces = [{{ name = "/" }}]"#,
        server.url()
    );
    let node = Node::start(&toml).await;
    let mut client = node.client().await;
    for (id, channel) in [(2, "plain"), (3, "kept:a")] {
        let told = client.ask(json!({"id": id, "subscribe": {"channel": channel}})).await;
        assert!(told["subscribe"].is_object(), "{told}");
    }
    let page = server.monitor("/connz?subs=true&limit=100").await.unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    let connections = page["connections"].as_array().unwrap().iter();
    let heard: BTreeSet<_> = connections
        .filter_map(|connection| connection["subscriptions_list"].as_array())
        .flatten()
        .filter_map(|subject| subject.as_str().map(str::to_owned))
        .collect();

    let settings = Settings::from_toml(&toml).unwrap();
    let mut namespaces = settings.channel.namespaces.clone();
    namespaces.0.insert(canary::NAMESPACE.to_owned(), Arc::new(canary::namespace()));
    let found = examine(&settings.nats.unwrap(), &namespaces).await.unwrap();
    let tried: BTreeSet<_> =
        found.needs.into_iter().filter(|(need, _)| need.act == Act::Subscribe).map(|(need, _)| need.subject).collect();
    let untried: Vec<_> = heard.iter().filter(|heard| !tried.iter().any(|need| is_tried_by(need, heard))).collect();
    // The node that is the bridge to Redis hears them, and any may become it.
    let bridges = ["midplane.sio-orders", "midplane.sio-names"];
    let unheard: Vec<_> = tried
        .iter()
        .filter(|need| !bridges.contains(&need.as_str()) && !heard.iter().any(|heard| is_tried_by(need, heard)))
        .collect();
    assert!(untried.is_empty() && unheard.is_empty(), "untried: {untried:?}, unheard: {unheard:?}, heard: {heard:#?}");
}
