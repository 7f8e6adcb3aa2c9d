//! One way from a caller to a callee.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::sieve::Sieve;
use crate::plan::{Harm, Prey};

/// Where the callee listens.
pub type Address = SocketAddr;

const CONNECT: Duration = Duration::from_secs(2);

/// What a link can do besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It holds little, so that a client that does not read is soon felt.
    OfClient,
    /// Deliveries can be taken out of what comes back.
    ToServer,
    Other,
}

/// What each socket of a client's link holds.
const OF_CLIENT: u32 = 16 * 1024;
/// Segments of a network card: with those of loopback a node's own socket would hold more than a megabyte.
const SEGMENT: u32 = 1448;

/// A listener whose connections end at the callee, while nothing is broken. Closed when it is dropped.
pub struct Link {
    at: SocketAddr,
    wire: Arc<Wire>,
    _closed_on_drop: tokio_util::sync::DropGuard,
}

struct Wire {
    callee: Address,
    /// What ails it, by the step that brought it.
    harms: Mutex<BTreeMap<usize, Harm>>,
    /// The worst of them.
    worst: watch::Sender<Option<Harm>>,
    kind: Kind,
    /// What is still to be taken out.
    swallow: Mutex<Option<Swallow>>,
}

/// Deliveries of one kind, so many.
#[derive(Debug, Clone)]
pub struct Swallow {
    pub prey: Prey,
    pub left: u32,
    /// Where the node that they are for sends its own heartbeats.
    pub own: String,
}

impl Link {
    pub async fn open(callee: Address, kind: Kind) -> io::Result<Self> {
        let listener = listen(kind)?;
        let at = listener.local_addr()?;
        let wire = Arc::new(Wire {
            callee,
            harms: Mutex::default(),
            worst: watch::channel(None).0,
            kind,
            swallow: Mutex::default(),
        });
        let closed = CancellationToken::new();
        tokio::spawn(closed.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&wire), closed.clone())));
        Ok(Self { at, wire, _closed_on_drop: closed.drop_guard() })
    }

    pub fn address(&self) -> SocketAddr {
        self.at
    }

    pub fn harm(&self, step: usize, harm: Harm) {
        self.change(|harms| {
            harms.insert(step, harm);
        });
    }

    pub fn heal(&self, step: usize) {
        self.change(|harms| {
            harms.remove(&step);
        });
    }

    /// Takes the next so many deliveries of a kind out; `None` leaves the rest alone.
    pub fn swallow(&self, what: Option<Swallow>) {
        *self.wire.swallow.lock().expect("nobody panics while counting") = what;
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<usize, Harm>)) {
        let mut harms = self.wire.harms.lock().expect("nobody panics while changing harms");
        change(&mut harms);
        self.wire.worst.send_replace(harms.values().copied().max_by_key(severity));
    }
}

fn severity(harm: &Harm) -> u64 {
    match harm {
        Harm::Delay(ms) => *ms,
        Harm::Stall => 1 << 32,
        Harm::Deaf => 1 << 33,
        Harm::Cut => 1 << 34,
    }
}

fn listen(kind: Kind) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    if kind == Kind::OfClient {
        socket.set_send_buffer_size(OF_CLIENT)?;
    }
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.listen(1024)
}

async fn accept(listener: TcpListener, wire: Arc<Wire>, closed: CancellationToken) {
    loop {
        let Ok((caller, _)) = listener.accept().await else { continue };
        let wire = Arc::clone(&wire);
        tokio::spawn(closed.clone().run_until_cancelled_owned(async move {
            if *wire.worst.borrow() == Some(Harm::Cut) {
                return;
            }
            let Ok(Ok(callee)) = timeout(CONNECT, wire.connect()).await else { return };
            let _ = caller.set_nodelay(true);
            let _ = callee.set_nodelay(true);
            let mut worst = wire.worst.subscribe();
            let (from_caller, to_caller) = caller.into_split();
            let (from_callee, to_callee) = callee.into_split();
            let sieve = (wire.kind == Kind::ToServer).then(Sieve::default);
            // Ends as a whole: half a connection is not what any of the parties expects.
            tokio::select! {
                _ = worst.wait_for(|harm| *harm == Some(Harm::Cut)) => {}
                _ = carry(from_caller, to_callee, &wire, None) => {}
                _ = carry(from_callee, to_caller, &wire, sieve) => {}
            }
        }));
    }
}

/// Carries one direction until it ends or is broken.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    wire: &Wire,
    mut sieve: Option<Sieve>,
) -> io::Result<()> {
    let mut worst = wire.worst.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let harm = *worst.borrow_and_update();
        if lost && harm != Some(Harm::Deaf) {
            // What was written is gone: nobody can go on from here.
            return Ok(());
        }
        let length = tokio::select! {
            changed = worst.changed() => {
                if changed.is_err() { return Ok(()) }
                continue;
            }
            read = from.read(&mut buffer), if harm != Some(Harm::Stall) => read?,
        };
        if length == 0 {
            return Ok(());
        }
        match harm {
            Some(Harm::Deaf) => {
                lost = true;
                continue;
            }
            Some(Harm::Delay(ms)) => sleep(Duration::from_millis(ms)).await,
            Some(Harm::Stall | Harm::Cut) | None => {}
        }
        match &mut sieve {
            None => to.write_all(&buffer[..length]).await?,
            Some(sieve) => {
                let left = sieve.sift(&buffer[..length], |subject| wire.takes(subject));
                to.write_all(&left).await?;
            }
        }
    }
}

impl Wire {
    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.kind == Kind::OfClient {
            socket.set_recv_buffer_size(OF_CLIENT)?;
            SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
        }
        socket.connect(self.callee).await
    }

    /// Whether a delivery is to be taken out; then one fewer is.
    fn takes(&self, subject: &str) -> bool {
        let mut swallow = self.swallow.lock().expect("nobody panics while counting");
        match &mut *swallow {
            Some(swallow) if swallow.left > 0 && swallow.prey.takes(subject, &swallow.own) => {
                swallow.left -= 1;
                true
            }
            _ => false,
        }
    }
}
