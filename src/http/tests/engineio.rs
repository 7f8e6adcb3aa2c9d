//! Engine.IO with real sockets: a session that answers every message with itself.

mod polling;
mod upgrade;
mod websocket;

use std::future::{Future, pending, ready};

use futures_util::stream::BoxStream;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::backplane::Backplane;
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
    let (feed, _) = crate::backplane::feed::open(1);
    let alone = Embedded::new(&Namespaces(HashMap::new()), 1 << 20, feed);
    over(alone, ping, upgrade_timeout, edge, bounds, None).await
}

/// With others behind `backplane`.
async fn over(
    backplane: Arc<dyn Backplane>,
    ping: [Duration; 2],
    upgrade_timeout: Duration,
    edge: Edge,
    bounds: Bounds,
    posts: Option<Rate>,
) -> Stage {
    let options = Options {
        ping_interval: ping[0],
        ping_timeout: ping[1],
        upgrade_timeout,
        max_payload: LIMIT,
        bytes_rate: None,
        queue_max_size: 1 << 20,
    };
    let pulse = Pulse::new();
    tokio::spawn(Arc::clone(&pulse).run());
    let connections = Connections::new();
    let telemetry = telemetry();
    let engine = Engine::new(options, backplane, Arc::clone(&connections), pulse, Arc::clone(&telemetry));
    let edge = Arc::new(edge);
    let answers = crate::http::engineio::Answers { compress_from: Some(1024), cookie: Some("io".to_owned()) };
    let stuck = Arc::<Notify>::default();
    let layer = Arc::new(EchoLayer(Arc::clone(&stuck)));
    let routes = crate::http::engineio::routes("/socket.io/", &edge, &engine, &layer, posts, &answers);
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
