//! Clients that come again as the official SDKs do: who was sent away, or had no answer in time, waits for a random time
//! below a limit that doubles.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use rand::Rng;

use super::{GroupId, Stage, Swarm};

/// The least and the greatest time between two attempts, as centrifuge-js has them.
const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(20);
/// How long an SDK waits until it is connected.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why an attempt was in vain, although nothing is wrong with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAway {
    /// 503 in place of the upgrade.
    Refused,
    /// With a code after which SDKs come again, or a subscription was refused for the moment.
    ForTheMoment,
    /// The connection broke.
    Cut,
    /// There was no answer in time.
    Late,
}

impl SentAway {
    fn of(error: &anyhow::Error) -> Option<Self> {
        let cut = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionRefused];
        let is_cut = error.downcast_ref::<io::Error>().is_some_and(|error| cut.contains(&error.kind()));
        error.downcast_ref().copied().or(is_cut.then_some(Self::Cut))
    }
}

impl fmt::Display for SentAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the handshake was answered 503",
            Self::ForTheMoment => "refused for the moment",
            Self::Cut => "the server closed a connection",
            Self::Late => "no answer in time",
        })
    }
}

impl std::error::Error for SentAway {}

/// A crowd that comes at once, and again until everybody is in.
pub struct Comeback {
    begun: Instant,
    /// When whose next attempt is due.
    waiting: BinaryHeap<Reverse<(Instant, GroupId, u32)>>,
    /// By when which client of the swarm must be ready, in the order of the times.
    deadlines: VecDeque<(Instant, usize)>,
    pub in_vain: Vec<SentAway>,
    /// From the crowd's beginning until a client was ready, in nanoseconds.
    pub took: Histogram<u64>,
}

impl Comeback {
    /// `count` clients of each group, whose first attempts are due now.
    fn begin(groups: &[GroupId], count: usize) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let all = groups.iter().flat_map(|group| std::iter::repeat_n(Reverse((begun, *group, 0)), count));
        Ok(Self {
            begun,
            waiting: all.collect(),
            deadlines: VecDeque::new(),
            in_vain: Vec::new(),
            took: Histogram::new_with_bounds(1_000, 600_000_000_000, 3)?,
        })
    }

    /// Whose attempt is due now, and the number of those that it made before.
    fn next(&mut self) -> Option<(GroupId, u32)> {
        self.waiting.peek().filter(|Reverse((due, ..))| *due <= Instant::now())?;
        self.waiting.pop().map(|Reverse((_, group, attempt))| (group, attempt))
    }

    /// A client of the swarm has made its attempt.
    fn tried(&mut self, client: usize) {
        self.deadlines.push_back((Instant::now() + TIMEOUT, client));
    }

    /// Whose time is over.
    fn late(&mut self) -> Option<usize> {
        self.deadlines.front().filter(|(deadline, _)| *deadline <= Instant::now())?;
        self.deadlines.pop_front().map(|(_, client)| client)
    }

    fn again(&mut self, group: GroupId, attempt: u32, why: SentAway) {
        self.in_vain.push(why);
        let most = (FIRST * 2_u32.saturating_pow(attempt)).min(LAST);
        let wait = (FIRST + rand::rng().random_range(Duration::ZERO..=most)).min(LAST);
        self.waiting.push(Reverse((Instant::now() + wait, group, attempt + 1)));
    }

    pub(super) fn ready(&mut self) {
        self.took.saturating_record(self.begun.elapsed().as_nanos() as u64);
    }
}

impl Swarm {
    /// Opens `count` more connections of each group at once, as the clients of a dead server do, and waits until all are
    /// ready. Who is sent away meanwhile comes again.
    pub fn come_back(&mut self, groups: &[GroupId], count: usize) -> anyhow::Result<Comeback> {
        let ready = |swarm: &Self| groups.iter().map(|group| swarm.of(*group).ready).sum::<usize>();
        let target = ready(self) + groups.len() * count;
        self.comeback = Some(Comeback::begin(groups, count)?);
        let outcome = self.wait(|swarm| {
            swarm.try_again()?;
            Ok(ready(swarm) == target)
        });
        let comeback = self.comeback.take().context("the crowd")?;
        outcome.with_context(|| format!("not all came back; in vain: {}", comeback.in_vain.len()))?;
        Ok(comeback)
    }

    /// Lets the attempts end that take too long, and begins those that are due.
    fn try_again(&mut self) -> anyhow::Result<()> {
        while let Some(late) = self.comeback.as_mut().and_then(Comeback::late) {
            if !matches!(self.clients[late].stage, Stage::Ready | Stage::Gone) {
                self.failed(late, SentAway::Late.into())?;
            }
        }
        while let Some((group, attempt)) = self.comeback.as_mut().and_then(Comeback::next) {
            let client = self.clients.len();
            self.open(group)?;
            self.clients[client].attempt = attempt;
            self.comeback.as_mut().context("the crowd")?.tried(client);
        }
        Ok(())
    }

    /// An attempt of a crowd may be in vain; whatever else goes wrong ends the run.
    pub(super) fn failed(&mut self, index: usize, error: anyhow::Error) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        match (SentAway::of(&error), &mut self.comeback) {
            (Some(why), Some(comeback)) if client.stage != Stage::Ready => {
                (client.stream, client.stage) = (None, Stage::Gone);
                comeback.again(GroupId(client.group), client.attempt, why);
                Ok(())
            }
            _ => Err(error),
        }
    }
}
