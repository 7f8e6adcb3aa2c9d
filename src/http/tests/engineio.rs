//! Engine.IO with real sockets: a session that answers every message with itself.

use std::future::{Future, pending, ready};

use futures_util::stream::BoxStream;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::backplane::embedded::Embedded;
use crate::engineio::{CloseReason, Engine, Handler, Handover, Layer, Options};
use crate::http::limits::Gate;
use crate::hub::{Connections, Control, Order, Pulse};
use crate::protocol::Channel;
use crate::protocol::centrifuge::codes::DisconnectCode;
use crate::protocol::socketio::{EnginePacket, Message};
use crate::settings::Rate;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Has somebody ask for the session's end.
const GOODBYE: &str = "goodbye";
/// Keeps the session busy for ever.
const STUCK: &str = "stuck";

/// Tells when a session is stuck.
struct EchoLayer(Arc<Notify>);

struct Echo {
    outbox: Arc<Outbox>,
    stuck: Arc<Notify>,
    is_stuck: bool,
}

impl EchoLayer {
    fn echo(&self, outbox: &Arc<Outbox>) -> Echo {
        Echo { outbox: Arc::clone(outbox), stuck: Arc::clone(&self.0), is_stuck: false }
    }
}

impl Layer for EchoLayer {
    type Handler = Echo;

    fn open(&self, outbox: &Arc<Outbox>, _: Peer) -> Echo {
        self.echo(outbox)
    }

    fn arrive(&self, outbox: &Arc<Outbox>, _: &[u8]) -> impl Future<Output = Option<Echo>> + Send {
        ready(Some(self.echo(outbox)))
    }
}

impl Handler for Echo {
    fn take(&mut self, message: Message) -> impl Future<Output = Result<(), CloseReason>> + Send {
        if matches!(&message, Message::Text(text) if text == GOODBYE) {
            self.outbox.request(Control::Close(DisconnectCode::ForceReconnect.into()));
        }
        self.is_stuck |= matches!(&message, Message::Text(text) if text == STUCK);
        if self.is_stuck {
            self.stuck.notify_one();
        }
        self.outbox.reply(EnginePacket::Message(message).frame());
        ready(Ok(()))
    }

    fn is_full(&self) -> bool {
        self.is_stuck
    }

    fn progress(&mut self) -> impl Future<Output = Result<(), CloseReason>> + Send {
        pending()
    }

    fn obey(&mut self, _: Arc<Order>) -> impl Future<Output = Result<(), CloseReason>> + Send {
        ready(Ok(()))
    }

    fn lost(&mut self, _: Channel) -> Result<(), CloseReason> {
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn on_deadline(&mut self, _: Instant) -> Result<(), CloseReason> {
        Ok(())
    }

    fn may_move(&self) -> bool {
        true
    }

    fn pack(&self) -> Vec<u8> {
        Vec::new()
    }

    fn depart(self) -> impl Future<Output = (Vec<u8>, BoxStream<'static, Bytes>)> + Send {
        ready((Vec::new(), futures_util::stream::empty().boxed()))
    }

    fn settle(&mut self, handover: Handover) -> impl Future<Output = Result<(), CloseReason>> + Send {
        handover.frames.into_iter().for_each(|frame| self.outbox.reply(frame));
        ready(Ok(()))
    }

    fn closed(self, _: &CloseReason) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

struct Stage {
    served: Served,
    edge: Arc<Edge>,
    telemetry: Arc<Telemetry>,
    connections: Arc<Connections>,
    stuck: Arc<Notify>,
    http: reqwest::Client,
}

const LIMIT: usize = 1000;

/// With long intervals: nothing happens by itself.
async fn stage() -> Stage {
    staged(Duration::from_secs(60), Duration::from_secs(60)).await
}

async fn staged(ping_interval: Duration, upgrade_timeout: Duration) -> Stage {
    bounded([ping_interval, Duration::from_secs(60)], upgrade_timeout, open_edge(), bounds()).await
}

/// With the interval of pings, and how long a pong may take.
async fn bounded(ping: [Duration; 2], upgrade_timeout: Duration, edge: Edge, bounds: Bounds) -> Stage {
    let options = Options {
        ping_interval: ping[0],
        ping_timeout: ping[1],
        upgrade_timeout,
        max_payload: LIMIT,
        queue_max_size: 1 << 20,
    };
    let pulse = Pulse::new();
    tokio::spawn(Arc::clone(&pulse).run());
    let connections = Connections::new();
    let (feed, _) = crate::backplane::feed::open(1);
    let backplane = Embedded::new(&Namespaces(HashMap::new()), 1 << 20, feed);
    let telemetry = telemetry();
    let engine = Engine::new(options, backplane, Arc::clone(&connections), pulse, Arc::clone(&telemetry));
    let edge = Arc::new(edge);
    let answers = crate::http::engineio::Answers { compress_from: Some(1024), cookie: Some("io".to_owned()) };
    let stuck = Arc::<Notify>::default();
    let layer = Arc::new(EchoLayer(Arc::clone(&stuck)));
    let routes = crate::http::engineio::routes("/socket.io/", &edge, &engine, &layer, None, &answers);
    let served = serve_with(open_edge(), bounds, routes).await;
    Stage { served, edge, telemetry, connections, stuck, http: reqwest::Client::new() }
}

impl Stage {
    fn url(&self, query: &str) -> String {
        format!("http://{}/socket.io/?{query}", self.served.address)
    }

    async fn get(&self, query: &str) -> (u16, String) {
        answer(self.http.get(self.url(query)).send()).await
    }

    async fn post(&self, sid: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        answer(self.http.post(self.url(&polling(sid))).body(body).send()).await
    }

    async fn poll(&self, sid: &str) -> (u16, String) {
        self.get(&polling(sid)).await
    }

    /// A request of a session that is busy with its packets for ever, once it is.
    async fn keep_busy(&self, sid: &str) -> TcpStream {
        const BODY: &str = "4stuck\x1e4a";
        let length = BODY.len();
        let query = polling(sid);
        let head = format!("POST /socket.io/?{query} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {length}\r\n\r\n{BODY}");
        let posting = self.served.send(request.as_bytes()).await;
        within(self.stuck.notified()).await;
        posting
    }

    /// A new session's id.
    async fn open(&self) -> String {
        let (status, body) = self.get("EIO=4&transport=polling").await;
        assert_eq!(status, 200);
        let opened: serde_json::Value = serde_json::from_str(body.strip_prefix('0').unwrap()).unwrap();
        opened["sid"].as_str().unwrap().to_owned()
    }

    async fn websocket(&self, query: &str) -> Client {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket{query}", self.served.address);
        connect_async(url).await.unwrap().0
    }

    /// A WebSocket for a session on long-polling.
    async fn websocket_of(&self, sid: &str) -> Client {
        self.websocket(&format!("&sid={sid}")).await
    }
}

fn polling(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

async fn answer(request: impl Future<Output = reqwest::Result<reqwest::Response>>) -> (u16, String) {
    let response = within(request).await.unwrap();
    (response.status().as_u16(), within(response.text()).await.unwrap())
}

async fn said(client: &mut Client) -> String {
    match within(client.next()).await.unwrap().unwrap() {
        Frame::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn is_closed(client: &mut Client) -> bool {
    matches!(within(client.next()).await, None | Some(Ok(Frame::Close(_)) | Err(_)))
}

#[tokio::test]
async fn what_opens_no_session_is_told_by_number() {
    let stage = stage().await;
    let unknown = "A".repeat(43);
    for (query, number, message) in [
        ("EIO=4".to_owned(), 0, "Transport unknown"),
        ("EIO=4&transport=abc".to_owned(), 0, "Transport unknown"),
        (polling(&unknown), 1, "Session ID unknown"),
        (polling("../../x"), 1, "Session ID unknown"),
        ("EIO=4&transport=websocket".to_owned(), 3, "Bad request"),
        ("transport=polling".to_owned(), 5, "Unsupported protocol version"),
        ("EIO=3&transport=polling".to_owned(), 5, "Unsupported protocol version"),
    ] {
        let expected = format!("{{\"code\":{number},\"message\":\"{message}\"}}");
        assert_eq!(stage.get(&query).await, (400, expected), "{query}");
    }
    let posted = answer(stage.http.post(stage.url("EIO=4&transport=polling")).send()).await;
    assert_eq!(posted, (400, "{\"code\":2,\"message\":\"Bad handshake method\"}".to_owned()));
    let foreign = stage.http.get(stage.url("EIO=4&transport=polling")).header("origin", "https://evil.example");
    assert_eq!(answer(foreign.send()).await, (403, "{\"code\":4,\"message\":\"Forbidden\"}".to_owned()));
}

#[tokio::test]
async fn a_node_that_leaves_lets_its_sessions_go_elsewhere_and_takes_no_more() {
    let stage = stage().await;
    let sid = stage.open().await;
    assert_eq!(stage.edge.admission.taken(), 1);
    stage.edge.admission.set(Gate::Draining);
    assert_eq!(stage.get("EIO=4&transport=polling").await.0, 503);
    let mut client = stage.websocket_of(&sid).await;
    client.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut client).await, "3probe", "who is inside stays");
    stage.connections.close_all(&DisconnectCode::Shutdown.into());
    assert_eq!(stage.poll(&sid).await, (200, "1".to_owned()), "clients come again after that");
    assert_eq!(stage.poll(&sid).await.0, 400);
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn what_waits_goes_out_with_one_request_in_order() {
    let stage = stage().await;
    let sid = stage.open().await;
    let waiting = tokio::spawn({
        let (http, url) = (stage.http.clone(), stage.url(&polling(&sid)));
        async move { answer(http.get(url).send()).await }
    });
    assert_eq!(stage.post(&sid, "4a\x1ebAQI=\x1e4b").await, (200, "ok".to_owned()));
    assert_eq!(waiting.await.unwrap(), (200, "4a\x1ebAQI=\x1e4b".to_owned()));
    stage.post(&sid, "4c").await;
    stage.post(&sid, "4d").await;
    assert_eq!(stage.poll(&sid).await, (200, "4c\x1e4d".to_owned()));
}

#[tokio::test]
async fn nobody_puts_off_the_end_of_a_session_by_many_packets_in_one_request() {
    let stage = stage().await;
    let sid = stage.open().await;
    stage.post(&sid, "4a\x1e4goodbye\x1e4b").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a\x1e4goodbye".to_owned()));
    assert_eq!(stage.poll(&sid).await, (200, "1".to_owned()), "what is said with the end is told in the next session");
}

#[tokio::test]
async fn too_large_a_request_is_refused_and_the_session_lives_on() {
    let stage = stage().await;
    let sid = stage.open().await;
    assert_eq!(stage.post(&sid, vec![b'4'; LIMIT + 1]).await, (413, String::new()));
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a".to_owned()));
}

#[tokio::test]
async fn requests_that_break_the_rules_end_the_session() {
    let stage = stage().await;
    for body in ["abc", "4a\x1e", "2", "bäh", ""] {
        let sid = stage.open().await;
        assert_eq!(stage.post(&sid, body).await, (400, String::new()), "{body}");
        assert_eq!(stage.poll(&sid).await.0, 400, "{body}");
    }
    let sid = stage.open().await;
    let binary = stage.http.post(stage.url(&polling(&sid))).header("content-type", "application/octet-stream");
    assert_eq!(answer(binary.body("4a").send()).await.0, 400);
    assert_eq!(stage.poll(&sid).await.0, 400);
    let sid = stage.open().await;
    let put = stage.http.put(stage.url(&polling(&sid)));
    assert_eq!(answer(put.send()).await.0, 400);
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await.0, 200, "another method changes nothing");
}

#[tokio::test]
async fn a_second_post_at_a_time_ends_the_session() {
    let stage = stage().await;
    let sid = stage.open().await;
    let head = format!("POST /socket.io/?{} HTTP/1.1\r\nhost: node\r\ncontent-length: 9\r\n\r\n4a", polling(&sid));
    let _first = stage.served.send(head.as_bytes()).await;
    // The first may not have been read yet: then this one is fine, and the next is not.
    let mut refused = false;
    for _ in 0..100 {
        refused = stage.post(&sid, "4b").await.0 == 400;
        if refused {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(refused);
    assert_eq!(stage.poll(&sid).await.0, 400);
}

#[tokio::test]
async fn a_session_moves_to_a_websocket_and_loses_nothing() {
    let stage = stage().await;
    let sid = stage.open().await;
    let mut client = stage.websocket_of(&sid).await;
    let mut second = stage.websocket_of(&sid).await;
    assert!(is_closed(&mut second).await, "one at a time");
    stage.post(&sid, "4before").await;
    client.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut client).await, "3probe");
    assert_eq!(stage.poll(&sid).await, (200, "4before".to_owned()), "until then it is on long-polling");
    assert_eq!(stage.poll(&sid).await, (200, "6".to_owned()));
    stage.post(&sid, "4between\x1ebAQI=").await;
    client.send(Frame::text("5")).await.unwrap();
    client.send(Frame::text("4after")).await.unwrap();
    assert_eq!(said(&mut client).await, "4between");
    assert_eq!(within(client.next()).await.unwrap().unwrap(), Frame::binary(vec![1, 2]));
    assert_eq!(said(&mut client).await, "4after");
    assert_eq!(stage.poll(&sid).await, (400, "{\"code\":3,\"message\":\"Bad request\"}".to_owned()));
    let mut late = stage.websocket_of(&sid).await;
    assert!(is_closed(&mut late).await);
    client.send(Frame::text("4on")).await.unwrap();
    assert_eq!(said(&mut client).await, "4on");
}

#[tokio::test]
async fn a_websocket_that_fails_leaves_the_session_on_long_polling() {
    let stage = staged(Duration::from_secs(60), Duration::from_millis(200)).await;
    let sid = stage.open().await;
    for first in ["4hello", "2", "5"] {
        let mut client = stage.websocket_of(&sid).await;
        client.send(Frame::text(first)).await.unwrap();
        assert!(is_closed(&mut client).await, "{first}");
    }
    let mut slow = stage.websocket_of(&sid).await;
    slow.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut slow).await, "3probe");
    assert!(is_closed(&mut slow).await, "too slow");
    stage.post(&sid, "4a").await;
    assert_eq!(stage.poll(&sid).await, (200, "4a".to_owned()));
}

#[tokio::test]
async fn requests_that_waited_as_they_should_left_no_place_for_anybody_else() {
    const LONG: Duration = Duration::from_secs(60);
    let stage = bounded([LONG; 2], LONG, open_edge(), Bounds { places: 8, ..bounds() }).await;
    let head = |method: &str, sid: &str, length: usize| {
        let query = polling(sid);
        format!(
            "{method} /socket.io/?{query} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let sid = stage.open().await;
        let poll = stage.served.send(head("GET", &sid, 0).as_bytes()).await;
        waiting.push((sid, poll));
    }
    for (sid, poll) in waiting {
        let posted = read_to_end(stage.served.send(format!("{}4a", head("POST", &sid, 2)).as_bytes()).await).await;
        assert!(posted.ends_with("ok"), "{posted}");
        let got = read_to_end(poll).await;
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\n4a"), "{got}");
    }
}

#[tokio::test]
async fn websockets_that_named_one_session_were_neither_limited_nor_closed() {
    const LONG: Duration = Duration::from_secs(60);
    let rate = Rate { per_second: 0.01, burst: 3 };
    let edge = Edge { admission: Admission::new(Some(1)), handshake_rate: Some(rate), ..open_edge() };
    let stage = bounded([LONG; 2], LONG, edge, bounds()).await;
    let sid = stage.open().await;
    let mut first = stage.websocket_of(&sid).await;
    for _ in 0..2 {
        let mut stream = stage.served.send(upgrade_of(&sid).as_bytes()).await;
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(&[0x88, 2, 0x03, 0xe8]), "{answer:?}");
    }
    for _ in 0..2 {
        let refused = read_head(&mut stage.served.send(upgrade_of(&sid).as_bytes()).await).await;
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    }
    let counted = stage.telemetry.render();
    assert!(counted.contains(r#"midplane_socketio_upgrades_total{result="surplus"} 2"#), "{counted}");
    assert!(stage.served.measured(r#"midplane_rate_limited_total{scope="handshake_ip"} 2"#));
    first.send(Frame::text("2probe")).await.unwrap();
    assert_eq!(said(&mut first).await, "3probe", "the first goes on");
}

/// A request for a WebSocket that takes over a session.
fn upgrade_of(sid: &str) -> String {
    let request = String::from_utf8(upgrade_request("")).unwrap();
    request.replace("/connection/websocket", &format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"))
}

#[tokio::test]
async fn websockets_are_closed_for_what_cannot_be_read() {
    let stage = stage().await;
    for frame in [Frame::text("abc"), Frame::text("2"), Frame::text(""), Frame::text("4".repeat(LIMIT + 1))] {
        let mut client = stage.websocket("").await;
        assert!(said(&mut client).await.starts_with("0{\"sid\":"));
        client.send(frame).await.unwrap();
        assert!(is_closed(&mut client).await);
    }
    let mut client = stage.websocket("").await;
    said(&mut client).await;
    client.send(Frame::text("bAQI=")).await.unwrap();
    assert_eq!(within(client.next()).await.unwrap().unwrap(), Frame::binary(vec![1, 2]), "binary in a text");
}

#[tokio::test]
async fn pings_go_out_on_a_busy_connection() {
    let stage = staged(Duration::from_millis(300), Duration::from_secs(60)).await;
    let mut client = stage.websocket("").await;
    said(&mut client).await;
    loop {
        client.send(Frame::text("4busy")).await.unwrap();
        if said(&mut client).await == "2" {
            break;
        }
    }
}

#[tokio::test]
async fn requests_for_a_busy_session_waited_however_many_came() {
    let stage = stage().await;
    let sid = stage.open().await;
    let posting = stage.keep_busy(&sid).await;
    let head = format!("GET /socket.io/?{} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n", polling(&sid));
    let other = stage.served.send(head.as_bytes()).await;
    assert_eq!(stage.poll(&sid).await.0, 400);
    for refused in [other, posting] {
        let answer = read_to_end(refused).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn a_client_that_had_gone_kept_its_session_until_its_last_request_was_worked_off() {
    let stage = stage().await;
    let sid = stage.open().await;
    drop(stage.keep_busy(&sid).await);
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn no_pong_that_was_missed_ended_a_busy_session() {
    let stage = bounded([Duration::from_secs(2); 2], Duration::from_secs(60), open_edge(), bounds()).await;
    let sid = stage.open().await;
    let posting = stage.keep_busy(&sid).await;
    let mut client = stage.websocket("").await;
    client.send(Frame::text("4stuck")).await.unwrap();
    client.send(Frame::text("4a")).await.unwrap();
    let mut heard = Vec::new();
    while let Some(Ok(Frame::Text(text))) = within(client.next()).await {
        heard.push(text.to_string());
    }
    assert!(heard.contains(&"2".to_owned()), "pings go out meanwhile: {heard:?}");
    let answer = read_to_end(posting).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    within(stage.edge.admission.emptied()).await;
}

#[tokio::test]
async fn nobody_could_end_a_session_that_waited_for_others() {
    let stage = stage().await;
    let sid = stage.open().await;
    let posting = stage.keep_busy(&sid).await;
    stage.connections.close_all(&DisconnectCode::Shutdown.into());
    let answer = read_to_end(posting).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert_eq!(stage.poll(&sid).await, (200, "4stuck".to_owned()));
    assert_eq!(stage.poll(&sid).await, (200, "1".to_owned()));
    within(stage.edge.admission.emptied()).await;
}
