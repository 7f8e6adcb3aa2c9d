//! What a session is taken for whose client cannot answer a ping.

use std::future::{Future, pending, ready};
use std::net::Ipv4Addr;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, empty};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::*;
use crate::engineio::{CloseReason, Handler, Handover, Layer, Way};
use crate::hooks::tests::fixtures::lonely;
use crate::hub::{Control, Order, Outbox};
use crate::protocol::Channel;
use crate::protocol::centrifuge::Format;
use crate::protocol::socketio::Message;
use crate::session::Peer;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than a pong may take, and shorter than a client waits for a ping.
const LONG: Duration = Duration::from_secs(35);

/// Whose sessions are busy for [`LONG`] with the message `busy`, and with every order.
#[derive(Default)]
struct SlowLayer(Mutex<Option<Arc<Outbox>>>);

struct Slow {
    busy_until: Option<Instant>,
}

impl Layer for SlowLayer {
    type Handler = Slow;

    fn open(&self, outbox: &Arc<Outbox>, _: Peer) -> Slow {
        *self.0.lock() = Some(Arc::clone(outbox));
        Slow { busy_until: None }
    }

    fn arrive(&self, _: &Arc<Outbox>, _: &[u8]) -> impl Future<Output = Option<Slow>> + Send {
        ready(None)
    }
}

impl Handler for Slow {
    fn take(&mut self, message: Message) -> impl Future<Output = Result<(), CloseReason>> + Send {
        let busy = matches!(&message, Message::Text(text) if text == "busy");
        self.busy_until = busy.then(|| Instant::now() + LONG);
        ready(Ok(()))
    }

    fn is_full(&self) -> bool {
        self.busy_until.is_some()
    }

    async fn progress(&mut self) -> Result<(), CloseReason> {
        match self.busy_until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
        self.busy_until = None;
        Ok(())
    }

    async fn obey(&mut self, _: Arc<Order>) -> Result<(), CloseReason> {
        sleep(LONG).await;
        Ok(())
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
        false
    }

    fn pack(&self) -> Vec<u8> {
        Vec::new()
    }

    fn depart(self) -> impl Future<Output = (Vec<u8>, BoxStream<'static, Bytes>)> + Send {
        ready((Vec::new(), empty().boxed()))
    }

    fn settle(&mut self, _: Handover) -> impl Future<Output = Result<(), CloseReason>> + Send {
        ready(Ok(()))
    }

    fn closed(self, _: &CloseReason) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// A session on long-polling whose client waits for what there is to say, and its outbox.
fn waiting() -> (Way, tokio::task::JoinHandle<Result<Bytes, Refused>>, Arc<Outbox>) {
    let pulse = Pulse::new();
    tokio::spawn(Arc::clone(&pulse).run());
    let engine = Engine::new(OPTIONS, lonely(), Connections::new(), pulse, telemetry());
    let layer = SlowLayer::default();
    let peer = Peer {
        format: Format::SocketIo,
        frame_pings: false,
        mailbox: None,
        remote: Ipv4Addr::LOCALHOST.into(),
        headers: Vec::new(),
    };
    let (sid, _) = engine.begin_polling(&layer, peer, ());
    let [way, waiting] = [(); 2].map(|()| engine.find(sid).unwrap());
    let outbox = layer.0.lock().take().unwrap();
    (way, tokio::spawn(async move { waiting.poll(|| {}).await }), outbox)
}

async fn post(way: &Way, body: &'static str) -> Result<(), Refused> {
    way.begin_post().await?.bring(body.into()).await
}

#[tokio::test(start_paused = true)]
async fn a_session_died_of_a_pong_that_was_there_before_it_was_looked_for() {
    let (way, waiting, outbox) = waiting();
    assert_eq!(waiting.await.unwrap().unwrap(), "2");
    outbox.request(Control::Obey(Arc::new(Order::Recheck)));
    // By now it obeys, and takes nothing for a while.
    sleep(SECOND).await;
    let begun = Instant::now();
    assert_eq!(post(&way, "3").await, Ok(()));
    assert!(begun.elapsed() > OPTIONS.ping_timeout, "it was taken late");
}

#[tokio::test(start_paused = true)]
async fn a_session_died_of_a_pong_that_could_not_come_before_it_had_taken_what_came_first() {
    let (way, waiting, _outbox) = waiting();
    sleep(OPTIONS.ping_interval - SECOND).await;
    let begun = Instant::now();
    assert_eq!(post(&way, "4busy\x1e4more").await, Ok(()));
    assert!(begun.elapsed() > SECOND + OPTIONS.ping_timeout, "it was answered late");
    assert_eq!(waiting.await.unwrap().unwrap(), "2", "the ping went out meanwhile");
    // Now the client may say more: one request at a time brings packets.
    sleep(SECOND).await;
    assert_eq!(post(&way, "3").await, Ok(()));
    assert_eq!(way.poll(|| {}).await.unwrap(), "2", "the next one comes");
}
