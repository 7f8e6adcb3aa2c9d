//! How many connections a user may have on all nodes, and who gives way.

use std::collections::BTreeMap;

use async_nats::Subscriber;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::nats_server::NatsServer;
use crate::support::node::{Node, Socket};
use crate::support::process::Process;
use crate::support::stream::Stream;
use crate::support::token::signed;
use crate::support::{PATIENCE, eventually};

const SECRET: &str = "a secret of thirty-two bytes, or more";
const LIMIT: (u16, &str) = (3504, "connection limit");

fn settings(server: Option<&NatsServer>, limit: usize, overflow: &str) -> String {
    let nats = server.map_or_else(String::new, |server| format!("nats.servers = [\"{}\"]\n", server.url()));
    format!(
        "{nats}http_api.insecure = true\n[client]\ntoken.hmac_secret_key = \"{SECRET}\"\n\
         allow_anonymous_connect_without_token = true\nuser_connection_limit = {limit}\n\
         user_connection_overflow = \"{overflow}\"\n"
    )
}

async fn two_nodes(server: &NatsServer, limit: usize, overflow: &str) -> [Node; 2] {
    let settings = settings(Some(server), limit, overflow);
    [Node::start(&settings).await, Node::start(&settings).await]
}

fn connect(user: &str) -> Value {
    json!({"id": 1, "connect": {"token": signed(SECRET, &json!({"sub": user}))}})
}

/// A connected client of `user`.
async fn client(node: &Node, user: &str) -> Socket {
    let mut socket = node.socket().await;
    let answer = socket.ask(connect(user)).await;
    assert!(answer["connect"]["client"].is_string(), "{answer}");
    socket
}

async fn is_refused(mut socket: Socket, user: &str) {
    socket.say(connect(user)).await;
    let (code, reason) = socket.closed().await;
    assert_eq!((code, &*reason), LIMIT);
}

async fn is_alive(socket: &mut Socket) {
    assert!(socket.ask(json!({"id": 9, "ping": {}})).await["ping"].is_object());
}

async fn metrics(node: &Node) -> String {
    let answer = reqwest::get(format!("http://{}/metrics", node.address)).await.expect("an answer");
    answer.text().await.expect("a body")
}

#[tokio::test]
async fn a_user_has_no_more_connections_than_allowed_on_all_nodes() {
    let server = NatsServer::start().await;
    let [one, other] = two_nodes(&server, 2, "refuse").await;
    let mut first = client(&one, "ann").await;
    let second = client(&other, "ann").await;
    is_refused(one.socket().await, "ann").await;
    is_refused(other.socket().await, "ann").await;
    let _bob = client(&other, "bob").await;
    for _ in 0..4 {
        // Nobody knows who they are.
        let _anonymous = one.client().await;
    }
    is_alive(&mut first).await;
    // Whoever leaves makes room, at once and on every node.
    drop(second);
    let mut third = client(&one, "ann").await;
    is_alive(&mut third).await;
    let told = metrics(&one).await;
    assert!(told.contains("midplane_user_connection_limit_total{result=\"refused\"} 1"), "{told}");
    assert!(told.contains("midplane_handshakes_rejected_total{reason=\"user_limit\"} 1"), "{told}");
    assert!(told.contains("midplane_presence_members 0"), "places are no members of channels: {told}");
}

#[tokio::test]
async fn the_oldest_connection_gives_way_on_whichever_node_it_is() {
    let server = NatsServer::start().await;
    let [one, other] = two_nodes(&server, 2, "replace").await;
    let mut first = client(&one, "ann").await;
    let mut second = client(&other, "ann").await;
    let mut third = client(&other, "ann").await;
    assert_eq!(first.closed().await.0, LIMIT.0);
    let mut fourth = client(&one, "ann").await;
    assert_eq!(second.closed().await.0, LIMIT.0);
    for kept in [&mut third, &mut fourth] {
        is_alive(kept).await;
    }
    assert!(metrics(&other).await.contains("midplane_user_connection_limit_total{result=\"replaced\"} 1"));
}

#[tokio::test]
async fn of_many_who_come_at_once_as_many_stay_as_are_allowed() {
    let server = NatsServer::start().await;
    let [one, other] = two_nodes(&server, 2, "refuse").await;
    let mut sockets = join_all((0..12).map(|index| if index % 2 == 0 { one.socket() } else { other.socket() })).await;
    join_all(sockets.iter_mut().map(|socket| socket.say(connect("ann")))).await;
    let outcomes = join_all(sockets.iter_mut().map(|socket| socket.connected_or_closed())).await;
    let connected = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(connected, 2, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(|code| *code == LIMIT.0)), "{outcomes:?}");
}

#[tokio::test]
async fn of_many_who_replace_each_other_the_newest_is_left() {
    let server = NatsServer::start().await;
    let [one, other] = two_nodes(&server, 1, "replace").await;
    let nats = async_nats::connect(server.url().as_str()).await.unwrap();
    let mut records = nats.subscribe("midplane.preslive.>").await.unwrap();
    nats.flush().await.unwrap();
    let mut sockets = join_all((0..8).map(|index| if index % 2 == 0 { one.socket() } else { other.socket() })).await;
    join_all(sockets.iter_mut().map(|socket| socket.say(connect("ann")))).await;
    let outcomes = join_all(sockets.iter_mut().map(|socket| socket.connected_or_closed())).await;
    let connections = async || {
        let body = json!({"user": "ann"}).to_string();
        let call = reqwest::Client::new().post(format!("http://{}/api/connections", one.address)).body(body);
        let answer: Value = call.send().await.ok()?.json().await.ok()?;
        Some(answer["result"]["connections"].as_object()?.keys().cloned().collect::<Vec<_>>())
    };
    let left = eventually("one is left", async || {
        let connections = connections().await?;
        (connections.len() == 1).then(|| connections.into_iter().next()).flatten()
    })
    .await;
    assert_eq!(left.replace('-', ""), last_recorded(&mut records, sockets.len()).await);
    for (socket, outcome) in sockets.iter_mut().zip(outcomes) {
        match outcome {
            Ok(client) if client == left => is_alive(socket).await,
            Ok(_) => assert_eq!(socket.closed().await.0, LIMIT.0),
            Err(code) => assert_eq!(code, LIMIT.0),
        }
    }
}

/// The one of `many` clients whose place was recorded last.
async fn last_recorded(records: &mut Subscriber, many: usize) -> String {
    let mut places = BTreeMap::new();
    while places.len() < many {
        let record = timeout(PATIENCE, records.next()).await.expect("all are recorded").expect("NATS is there");
        // An empty one is a departure.
        if !record.payload.is_empty() {
            let headers = record.headers.expect("a record comes out of the stream");
            let sequence = headers.get("Nats-Sequence").expect("and says where it stands").as_str();
            let client = record.subject.rsplit('.').next().expect("a client").to_owned();
            places.insert(client, sequence.parse::<u64>().expect("a number"));
        }
    }
    places.into_iter().max_by_key(|(_, sequence)| *sequence).expect("there are some").0
}

#[tokio::test]
async fn connections_of_a_node_that_was_killed_do_not_count() {
    let server = NatsServer::start().await;
    let variables = [
        ("NATS_URL", server.url().to_string()),
        ("JWT_SECRET", SECRET.to_owned()),
        ("MIDPLANE_CLIENT__USER_CONNECTION_LIMIT", "1".to_owned()),
    ];
    let mut dying = Process::start("dying", &variables).await;
    let other = Node::start(&settings(Some(&server), 1, "refuse")).await;
    let mut ann = Socket::open(&dying.address().expect("an address")).await;
    assert!(ann.ask(connect("ann")).await["connect"].is_object());
    is_refused(other.socket().await, "ann").await;
    dying.kill();
    let mut back = client(&other, "ann").await;
    is_alive(&mut back).await;
    is_refused(other.socket().await, "ann").await;
}

#[tokio::test]
async fn a_node_that_hangs_makes_clients_come_again_and_nobody_leave_for_good() {
    let server = NatsServer::start().await;
    let variables = [
        ("NATS_URL", server.url().to_string()),
        ("JWT_SECRET", SECRET.to_owned()),
        ("HEARTBEAT_INTERVAL", "200".to_owned()),
        ("FAILURE_DETECTION_TIMEOUT", "6000".to_owned()),
        ("MIDPLANE_CLIENT__USER_CONNECTION_LIMIT", "1".to_owned()),
    ];
    let hanging = Process::start("hanging", &variables).await;
    let cluster = "[cluster]\nheartbeat_interval = \"200ms\"\nfailure_detection_timeout = \"6s\"\n";
    let other = Node::start(&format!("{}{cluster}", settings(Some(&server), 1, "refuse"))).await;
    let mut ann = Socket::open(&hanging.address().expect("an address")).await;
    assert!(ann.ask(connect("ann")).await["connect"].is_object());
    hanging.signal("STOP");
    let mut told_to_wait = 0;
    let mut back = eventually("the dead node's connection does not count any more", async || {
        let mut socket = other.socket().await;
        let answer = socket.ask(connect("ann")).await;
        if answer["connect"].is_object() {
            return Some(socket);
        }
        let error = &answer["error"];
        assert_eq!((&error["code"], &error["temporary"]), (&json!(100), &json!(true)), "{answer}");
        told_to_wait += 1;
        None
    })
    .await;
    assert!(told_to_wait > 0, "nobody knows at first whether the connection at the node that hangs counts");
    is_alive(&mut back).await;
    is_refused(other.socket().await, "ann").await;
}

#[tokio::test]
async fn connections_on_streams_count_as_well_and_without_nats_too() {
    let node = Node::start(&settings(None, 1, "refuse")).await;
    let (line, _) = (connect("ann").to_string(), ());
    let mut stream = Stream::post(&node, "sse", &line).await;
    assert!(stream.hear().await["connect"].is_object());
    is_refused(node.socket().await, "ann").await;
    drop(stream);
    eventually("it is free again", async || {
        let mut socket = node.socket().await;
        socket.say(connect("ann")).await;
        timeout(PATIENCE, socket.connected_or_closed()).await.ok()?.ok().map(drop)
    })
    .await;
}
