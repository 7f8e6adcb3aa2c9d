//! An Engine.IO server that answers every message with itself: what the protocol's own test suite runs against
//! (`tests/sdk/js/conformance.test.mjs`). The product speaks Engine.IO only below Socket.IO.

use std::future::{Future, pending, ready};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use midplane::backplane::embedded::Embedded;
use midplane::backplane::feed;
use midplane::engineio::{CloseReason, Engine, Handler, Handover, Layer, Options};
use midplane::http::engineio::Answers;
use midplane::http::{self, Bounds, Edge, Server};
use midplane::hub::{Connections, Order, Outbox, Pulse, Turnstile};
use midplane::protocol::Channel;
use midplane::protocol::socketio::{EnginePacket, Message};
use midplane::session::Peer;
use midplane::settings::Settings;
use midplane::telemetry::Telemetry;
use tokio::time::Instant;

struct EchoLayer;

struct Echo(Arc<Outbox>);

impl Layer for EchoLayer {
    type Handler = Echo;

    fn open(&self, outbox: &Arc<Outbox>, _: Peer) -> Echo {
        Echo(Arc::clone(outbox))
    }

    fn arrive(&self, outbox: &Arc<Outbox>, _: &[u8]) -> impl Future<Output = Option<Echo>> + Send {
        ready(Some(Echo(Arc::clone(outbox))))
    }
}

impl Handler for Echo {
    fn take(&mut self, message: Message) -> impl Future<Output = Result<(), CloseReason>> + Send {
        self.0.reply(EnginePacket::Message(message).frame());
        ready(Ok(()))
    }

    fn is_full(&self) -> bool {
        false
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
        ready((Vec::new(), stream::empty().boxed()))
    }

    fn settle(&mut self, handover: Handover) -> impl Future<Output = Result<(), CloseReason>> + Send {
        handover.frames.into_iter().for_each(|frame| self.0.reply(frame));
        ready(Ok(()))
    }

    fn closed(self, _: &CloseReason) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::from_toml("")?;
    let telemetry = Telemetry::new(&settings.channel.namespaces);
    let pulse = Pulse::new();
    tokio::spawn(Arc::clone(&pulse).run());
    let options = Options {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        upgrade_timeout: Duration::from_secs(10),
        max_payload: 1_000_000,
        bytes_rate: None,
        queue_max_size: 1 << 20,
    };
    // Alone: nobody else has sessions, and nothing is published.
    let (sender, _feeds) = feed::open(1);
    let alone = Embedded::new(&settings.channel.namespaces, 1 << 20, sender);
    let engine = Engine::new(options, alone, Connections::new(), pulse, Arc::clone(&telemetry));
    let connects = Turnstile::new(64, 64, Duration::from_secs(5));
    let edge = Edge::new(&settings, Arc::new(connects));
    let routes = http::engineio::routes("/engine.io/", &edge, &engine, &Arc::new(EchoLayer), None, &Answers::default());
    let server = Server::bind("127.0.0.1:0".parse()?, Bounds::from(&settings.http), &telemetry)?;
    writeln!(std::io::stdout(), "http://{}", server.address())?;
    server.serve(http::compose([routes], &telemetry), pending()).await;
    Ok(())
}
