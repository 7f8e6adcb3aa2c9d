//! Many clients on one thread: one epoll, one read buffer, nothing that blocks.

mod comeback;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

pub use self::comeback::{Comeback, SentAway};
use crate::dial::dial;
pub use crate::hello::Hello;
use crate::hello::Means;
use crate::wire;

/// Handshakes under way at one time.
const IN_FLIGHT: usize = 64;

/// Nothing that we wait for takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients that connect to any number of servers.
pub struct Swarm {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    groups: Vec<Group>,
    /// What times in messages count from.
    origin: Instant,
    next_source: usize,
    /// A crowd that is on its way.
    comeback: Option<Comeback>,
}

/// Clients of one server in one role.
pub struct Group {
    address: SocketAddr,
    hello: Hello,
    pub ready: usize,
    pub gone: usize,
    /// Those that were told that they missed nothing that they did not get.
    pub recovered: usize,
    pub deliveries: u64,
    /// Joins and leaves, as [`wire::told`] puts them.
    pub told: Vec<String>,
    /// Payload bytes of the latest frame with a delivery.
    pub frame_size: usize,
    /// From the scheduled time to the arrival, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Close connections as soon as they are connected.
    hit_and_run: bool,
}

/// Which of the swarm's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(usize);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Joining,
    Ready,
    Gone,
}

struct Client {
    stream: Option<TcpStream>,
    group: usize,
    /// How often it tried before.
    attempt: u32,
    stage: Stage,
    /// A frame that is not whole yet.
    tail: Vec<u8>,
    /// Replies without which it is not ready.
    awaited: usize,
    /// The number that the next message must have, once one has come.
    expected: Option<u64>,
}

impl Swarm {
    pub fn new(origin: Instant) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 * 1024],
            clients: Vec::new(),
            groups: Vec::new(),
            origin,
            next_source: 0,
            comeback: None,
        })
    }

    pub fn group(&mut self, address: SocketAddr, hello: Hello) -> anyhow::Result<GroupId> {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        self.groups.push(Group {
            address,
            hello,
            ready: 0,
            gone: 0,
            recovered: 0,
            deliveries: 0,
            told: Vec::new(),
            frame_size: 0,
            latency,
            hit_and_run: false,
        });
        Ok(GroupId(self.groups.len() - 1))
    }

    pub fn of(&self, group: GroupId) -> &Group {
        &self.groups[group.0]
    }

    pub fn of_mut(&mut self, group: GroupId) -> &mut Group {
        &mut self.groups[group.0]
    }

    /// Opens `count` more connections and waits until all are ready.
    pub fn connect(&mut self, group: GroupId, count: usize) -> anyhow::Result<()> {
        let target = self.of(group).ready + count;
        let mut opened = 0;
        self.wait(|swarm| {
            let missing = target - swarm.of(group).ready;
            while opened < count && opened + missing < count + IN_FLIGHT {
                swarm.open(group)?;
                opened += 1;
            }
            Ok(missing == 0)
        })
        .context("connections do not become ready")
    }

    /// Opens `count` connections in all, each closed by a reset once it is connected.
    pub fn storm(&mut self, group: GroupId, count: usize) -> anyhow::Result<()> {
        self.of_mut(group).hit_and_run = true;
        let target = self.of(group).gone + count;
        let mut opened = 0;
        let outcome = self.wait(|swarm| {
            let missing = target - swarm.of(group).gone;
            while opened < count && opened + missing < count + IN_FLIGHT {
                swarm.open(group)?;
                opened += 1;
            }
            Ok(missing == 0)
        });
        self.clients.clear();
        outcome.context("connections do not become ready")
    }

    /// Lets the connections of a group go whose server was killed, before their end is taken for a failure.
    pub fn forget(&mut self, group: GroupId) {
        for client in self.clients.iter_mut().filter(|client| client.group == group.0) {
            (client.stream, client.stage) = (None, Stage::Gone);
        }
    }

    /// Waits until the group got `count` more deliveries than `before`.
    pub fn await_deliveries(&mut self, group: GroupId, total: u64) -> anyhow::Result<()> {
        self.wait(|swarm| Ok(swarm.of(group).deliveries >= total))
            .with_context(|| format!("{} of {total} deliveries came", self.of(group).deliveries))?;
        ensure!(self.of(group).deliveries == total, "more deliveries than publications");
        Ok(())
    }

    /// Reads, and answers pings, for `time`.
    pub fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    fn wait(&mut self, mut done: impl FnMut(&mut Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !done(self)? {
            ensure!(begun.elapsed() < PATIENCE, "nothing after {PATIENCE:?}");
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Handles what is ready, or waits for something to be.
    pub fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let ready: Vec<_> = self.events.iter().map(|event| event.token().0).collect();
        ready.into_iter().try_for_each(|index| self.advance(index).or_else(|error| self.failed(index, error)))
    }

    fn open(&mut self, group: GroupId) -> anyhow::Result<()> {
        // One source address has some 28,000 ports towards one server.
        self.next_source += 1;
        let source = Ipv4Addr::new(127, 0, 1 + (self.next_source % 40) as u8, 1);
        let mut stream = dial(source, self.of(group).address)?;
        let index = self.clients.len();
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        self.clients.push(Client {
            stream: Some(stream),
            group: group.0,
            attempt: 0,
            stage: Stage::Connecting,
            tail: Vec::new(),
            awaited: 1,
            expected: None,
        });
        Ok(())
    }

    fn advance(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        let Some(stream) = &mut client.stream else { return Ok(()) };
        if client.stage == Stage::Connecting {
            match stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => {
                    if let Some(error) = stream.take_error()? {
                        return Err(error).context("connect");
                    }
                    return Ok(());
                }
                connected => connected?,
            };
            stream.write_all(&wire::upgrade_request(self.groups[client.group].hello.path()))?;
            client.stage = Stage::Upgrading;
        }
        loop {
            let Some(stream) = &mut self.clients[index].stream else { return Ok(()) };
            match stream.read(&mut self.buffer) {
                Ok(0) => bail!(SentAway::Cut),
                Ok(length) => {
                    let buffer = std::mem::take(&mut self.buffer);
                    let outcome = self.take(index, &buffer[..length]);
                    let short = length < buffer.len();
                    self.buffer = buffer;
                    outcome?;
                    // A short read has drained the socket: another one would only say so.
                    if short {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("read"),
            }
        }
    }

    fn take(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let tail = std::mem::take(&mut self.clients[index].tail);
        if tail.is_empty() {
            return self.take_whole(index, bytes);
        }
        self.take_whole(index, &[&tail, bytes].concat())
    }

    fn take_whole(&mut self, index: usize, mut bytes: &[u8]) -> anyhow::Result<()> {
        if self.clients[index].stage == Stage::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                self.clients[index].tail = bytes.to_vec();
                return Ok(());
            };
            ensure!(!bytes.starts_with(b"HTTP/1.1 503"), SentAway::Refused);
            ensure!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&bytes[..end]));
            bytes = &bytes[end + 4..];
            self.join(index)?;
        }
        let arrived = self.origin.elapsed().as_nanos() as u64;
        while let Some((opcode, payload, length)) = wire::server_frame(bytes) {
            ensure!(!wire::is_passing(opcode, payload), SentAway::ForTheMoment);
            ensure!(opcode == 1, "frame with opcode {opcode}: {}", String::from_utf8_lossy(payload));
            self.frame(index, payload, arrived)?;
            bytes = &bytes[length..];
            if self.clients[index].stage == Stage::Gone {
                return Ok(());
            }
        }
        if !bytes.is_empty() {
            self.clients[index].tail = bytes.to_vec();
        }
        Ok(())
    }

    fn join(&mut self, index: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let (hello, awaited) = self.groups[client.group].hello.said_by(index)?;
        client.awaited = awaited;
        client.stage = Stage::Joining;
        if let Some(stream) = &mut client.stream {
            stream.write_all(&hello)?;
        }
        Ok(())
    }

    fn frame(&mut self, index: usize, payload: &[u8], arrived: u64) -> anyhow::Result<()> {
        for message in payload.split(|byte| *byte == b'\n').filter(|message| !message.is_empty()) {
            let group = &mut self.groups[self.clients[index].group];
            match group.hello.means(message) {
                Means::Ping(pong) => {
                    if let Some(stream) = &mut self.clients[index].stream {
                        stream.write_all(&wire::masked_text(pong))?;
                    }
                }
                Means::Presence(told) => group.told.push(told),
                Means::Delivery => {
                    group.frame_size = payload.len();
                    self.delivery(index, message, arrived)?;
                }
                Means::Reply => self.reply(index, message)?,
                Means::Nothing => {}
            }
        }
        Ok(())
    }

    fn delivery(&mut self, index: usize, message: &[u8], arrived: u64) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let group = &mut self.groups[client.group];
        let number = wire::number(message, b"\"n\":")
            .with_context(|| format!("a delivery without its number: {}", String::from_utf8_lossy(message)))?;
        let expected = client.expected.unwrap_or(number);
        ensure!(number == expected, "message {number} came where {expected} was due");
        client.expected = Some(number + 1);
        group.deliveries += 1;
        if let Some(scheduled) = wire::number(message, b"\"t\":").filter(|time| *time > 0) {
            group.latency.saturating_record(arrived.saturating_sub(scheduled));
        }
        Ok(())
    }

    fn reply(&mut self, index: usize, message: &[u8]) -> anyhow::Result<()> {
        let found = |name: &[u8]| memchr::memmem::find(message, name).is_some();
        ensure!(!found(b"\"temporary\":true"), SentAway::ForTheMoment);
        ensure!(!found(b"\"error\""), "{}", String::from_utf8_lossy(message));
        let client = &mut self.clients[index];
        let group = &mut self.groups[client.group];
        if client.stage != Stage::Joining || !found(group.hello.last_reply()) {
            return Ok(());
        }
        client.awaited -= 1;
        if client.awaited > 0 {
            return Ok(());
        }
        if group.hit_and_run {
            group.gone += 1;
            client.stage = Stage::Gone;
            client.stream = None;
        } else {
            group.ready += 1;
            group.recovered += usize::from(found(b"\"recovered\":true"));
            client.stage = Stage::Ready;
            if let Some(comeback) = &mut self.comeback {
                comeback.ready();
            }
        }
        Ok(())
    }
}
