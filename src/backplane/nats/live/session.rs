//! One connection's life, from the accepted CONNECT to its end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BufMut as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::{debug, warn};

use super::barrier::{Barrier, Barriers};
use super::commands::{Command, Commands};
use super::connect::Link;
use super::info::ServerInfo;
use super::interest::Interest;
use super::parser::Op;
use super::servers::Servers;
use super::{LiveEvent, LiveState, Sid};
use crate::backplane::nats::refusals::TakenBack;
use crate::telemetry::Pace;

/// Pings that may stay unanswered.
const UNANSWERED: u32 = 2;
/// With more than this waiting to be written, no further commands are taken.
const OUTPUT: usize = 1024 * 1024;
/// How often it is asked for what the server has taken back, and for how many at a time: once one of them is granted, for
/// all.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const AT_A_TIME: usize = 16;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    Lost(String),
    /// Nobody takes events any more.
    Unheard,
}

/// What a connection works with and leaves to the next one.
pub(super) struct Shared<'a> {
    pub(super) interest: &'a mut Interest,
    pub(super) servers: &'a mut Servers,
    pub(super) commands: &'a Commands,
    pub(super) events: &'a mpsc::Sender<LiveEvent>,
    pub(super) state: &'a watch::Sender<LiveState>,
    pub(super) refused: &'a watch::Sender<TakenBack>,
}

pub(super) struct Session<'a> {
    link: Link,
    shared: Shared<'a>,
    barriers: Barriers,
    /// Events that found no room. While there are any nothing is read.
    undelivered: VecDeque<LiveEvent>,
    /// Every subscription of the last connection is back. Messages before that are left out: they fall into the time that
    /// was reported as lost.
    restored: bool,
    /// Pings since the server was last heard.
    unanswered: u32,
    /// The server's last error, which tells why it closes.
    complaint: Option<String>,
    pings: Interval,
    asks: Interval,
    /// Of lines about what the server complains of.
    complaints: Pace,
}

impl<'a> Session<'a> {
    /// The first connection, which has nothing to restore.
    pub(super) fn first(link: Link, shared: Shared<'a>, ping_interval: Duration) -> Self {
        let mut pings = interval_at(Instant::now() + ping_interval, ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asks = interval_at(Instant::now() + ASK_AGAIN, ASK_AGAIN);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            link,
            shared,
            barriers: Barriers::default(),
            undelivered: VecDeque::new(),
            restored: true,
            unanswered: 0,
            complaint: None,
            pings,
            asks,
            complaints: Pace::default(),
        }
    }

    /// A later one: it begins with the subscriptions that there are.
    pub(super) fn again(link: Link, shared: Shared<'a>, ping_interval: Duration) -> Self {
        let mut session = Self::first(link, shared, ping_interval);
        session.restored = false;
        for command in session.shared.commands.take() {
            session.obey(command, false);
        }
        let sids = session.shared.interest.write_all(&mut session.link.wire.output);
        session.ask(Barrier { sids, restores: true, ..Barrier::default() });
        session
    }

    /// Serves until the connection ends; then what is left of its events.
    pub(super) async fn run(mut self) -> (End, VecDeque<LiveEvent>) {
        loop {
            if let Err(end) = self.take_in() {
                return (end, self.undelivered);
            }
            let listening = self.undelivered.is_empty();
            let writable = self.link.wire.output.len() < OUTPUT;
            let outcome = tokio::select! {
                () = self.shared.commands.given(), if writable => {
                    self.obey_all();
                    Ok(())
                }
                room = self.shared.events.reserve(), if !listening => match (room, self.undelivered.pop_front()) {
                    (Ok(room), Some(event)) => {
                        room.send(event);
                        Ok(())
                    }
                    (Ok(_), None) => Ok(()),
                    (Err(_), _) => Err(End::Unheard),
                },
                _ = self.pings.tick() => self.on_tick(listening),
                _ = self.asks.tick(), if self.restored && self.shared.interest.lost() > 0 => {
                    self.ask_for_taken_back(AT_A_TIME);
                    Ok(())
                }
                read = self.link.wire.turn(listening) => self.on_read(read),
            };
            if let Err(end) = outcome {
                return (end, self.undelivered);
            }
        }
    }

    /// Works off what was read, until an event finds no room.
    fn take_in(&mut self) -> Result<(), End> {
        while self.undelivered.is_empty() {
            let op = self.link.wire.next().map_err(|malformed| End::Lost(malformed.to_string()))?;
            match op {
                None => break,
                Some(Op::Message(message)) => {
                    if self.restored {
                        self.tell(LiveEvent::message(message))?;
                    }
                }
                Some(Op::Ping) => self.link.wire.output.put_slice(b"PONG\r\n"),
                Some(Op::Pong) => self.on_pong()?,
                Some(Op::Err(error)) => self.on_error(error),
                Some(Op::Info(json)) => self.on_info(&json)?,
                Some(Op::Ok) => {}
            }
        }
        Ok(())
    }

    fn on_read(&mut self, read: std::io::Result<usize>) -> Result<(), End> {
        let ended = match read {
            Ok(0) => "connection closed by the server".to_owned(),
            Ok(_) => {
                self.unanswered = 0;
                return Ok(());
            }
            Err(error) => error.to_string(),
        };
        Err(End::Lost(match self.complaint.take() {
            Some(complaint) => format!("{ended} ({complaint})"),
            None => ended,
        }))
    }

    fn on_tick(&mut self, listening: bool) -> Result<(), End> {
        if !listening {
            // It is this side that does not read: the server cannot be heard.
            self.unanswered = 0;
            return Ok(());
        }
        if self.unanswered >= UNANSWERED {
            return Err(End::Lost(format!("{} pings unanswered", self.unanswered)));
        }
        self.unanswered += 1;
        self.ask(Barrier::default());
        Ok(())
    }

    fn on_info(&mut self, json: &[u8]) -> Result<(), End> {
        match serde_json::from_slice::<ServerInfo>(json) {
            Ok(info) => {
                self.shared.servers.learn(&info, &self.link.server);
                let lame_duck = info.lame_duck;
                self.link.info = info;
                if self.restored {
                    self.shared.state.send_replace(self.link.state());
                }
                if lame_duck && self.shared.servers.len() > 1 {
                    return Err(End::Lost("the server is about to stop (lame duck mode)".to_owned()));
                }
            }
            Err(error) => debug!(%error, "unreadable INFO"),
        }
        Ok(())
    }

    fn on_error(&mut self, error: String) {
        let asked = !self.barriers.is_empty();
        if self.barriers.file(&error) {
            if !asked {
                self.link.wire.output.put_slice(b"PING\r\n");
            }
        } else {
            if let Some(left_out) = self.complaints.due() {
                warn!(server = %self.link.server, error, left_out, "NATS server complains");
            }
            self.complaint = Some(error);
        }
    }

    /// Settles what was asked before the PING that this answers.
    fn on_pong(&mut self) -> Result<(), End> {
        let Some(barrier) = self.barriers.pop() else { return Ok(()) };
        if let (Some(error), true) = (&barrier.unnamed, barrier.restores) {
            // Some subscription is not back, and nobody knows which.
            return Err(End::Lost(error.clone()));
        }
        let mut granted = false;
        for &sid in &barrier.sids {
            let refusal = self.shared.interest.subject(sid).and_then(|subject| barrier.refused.get(subject));
            match refusal.or(barrier.unnamed.as_ref()) {
                None => {
                    if self.shared.interest.accepted(sid) {
                        granted = true;
                        self.tell(LiveEvent::Granted { sid })?;
                    }
                }
                Some(why) => {
                    self.shared.interest.refused(sid, why);
                    self.unsub(sid);
                }
            }
        }
        if !barrier.refused.is_empty() {
            self.take_back(&barrier)?;
        }
        self.tell_taken_back(barrier.refused.values().next());
        if granted && self.shared.interest.lost() > 0 && barrier.sids.len() <= AT_A_TIME {
            self.ask_for_taken_back(usize::MAX);
        }
        if barrier.restores {
            self.restored = true;
            self.shared.state.send_replace(self.link.state());
            self.tell(LiveEvent::Connected { server: self.link.server.to_string() })?;
        }
        Ok(())
    }

    /// Subscriptions that the server took once and now refuses.
    fn take_back(&mut self, barrier: &Barrier) -> Result<(), End> {
        for sid in self.shared.interest.take_back(|subject| barrier.refused.contains_key(subject)) {
            let why = self.shared.interest.subject(sid).and_then(|subject| barrier.refused.get(subject));
            let why = why.cloned().unwrap_or_default();
            self.tell(LiveEvent::Refused { sid, why })?;
        }
        Ok(())
    }

    /// Shows how many are taken back, with the server's word on one of them.
    fn tell_taken_back(&self, why: Option<&String>) {
        let count = self.shared.interest.lost();
        self.shared.refused.send_if_modified(|standing| {
            let news = standing.count != count;
            standing.count = count;
            if let (Some(why), true) = (why, news) {
                standing.why = why.as_str().into();
            }
            news
        });
    }

    fn ask_for_taken_back(&mut self, most: usize) {
        let sids = self.shared.interest.write_taken_back(most, &mut self.link.wire.output);
        self.ask(Barrier { sids, ..Barrier::default() });
    }

    fn obey_all(&mut self) {
        let sids: Vec<Sid> =
            self.shared.commands.take().into_iter().filter_map(|command| self.obey(command, true)).collect();
        if !sids.is_empty() {
            self.ask(Barrier { sids, ..Barrier::default() });
        }
    }

    /// Carries a command out; the subscription that is now to be asked about. Before everything is written again (`now`
    /// is false) a command only changes what is to be written.
    fn obey(&mut self, command: Command, now: bool) -> Option<Sid> {
        match command {
            Command::Subscribe { sid, subject, answer, .. } => {
                let output = now.then_some(&mut self.link.wire.output);
                self.shared.interest.add(sid, subject, answer, output);
                Some(sid)
            }
            Command::Unsubscribe(sid) => {
                if self.shared.interest.remove(sid) && now {
                    self.unsub(sid);
                }
                self.tell_taken_back(None);
                None
            }
        }
    }

    fn unsub(&mut self, sid: Sid) {
        self.link.wire.output.put_slice(format!("UNSUB {sid}\r\n").as_bytes());
    }

    fn ask(&mut self, barrier: Barrier) {
        self.link.wire.output.put_slice(b"PING\r\n");
        self.barriers.push(barrier);
    }

    /// Hands an event over, or keeps it until there is room.
    fn tell(&mut self, event: LiveEvent) -> Result<(), End> {
        if !self.undelivered.is_empty() {
            self.undelivered.push_back(event);
            return Ok(());
        }
        match self.shared.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(event)) => {
                self.undelivered.push_back(event);
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(End::Unheard),
        }
    }
}
