//! What those on this node who are told of joins and leaves know of one channel.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::life;
use super::read::user;
use crate::backplane::{Departed, Record};
use crate::hub::{Audience, Content, Frames, Outbox, Reach};
use crate::protocol::centrifuge::{ClientInfo, Push, pushed};
use crate::protocol::{Channel, Offset};

/// A channel with listeners to joins and leaves on this node.
pub(super) struct View {
    pub(super) channel: Channel,
    /// How long a user may be away without having left; zero tells of every client.
    delay: Duration,
    /// Whoever waits is woken by a change, and where nobody opens it any more.
    pub(super) opened: watch::Sender<Opened>,
    pub(super) state: Mutex<ViewState>,
}

/// Whether it is known who is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Opened {
    #[default]
    NotYet,
    /// The backplane does not let this node hear of changes. It is tried again.
    Refused,
    Known,
}

/// What of a view changes.
#[derive(Default)]
pub(super) struct ViewState {
    pub(super) audience: Audience,
    members: HashMap<Uuid, Member>,
    /// Everybody who was there is known: from now on changes are told.
    pub(super) open: bool,
    /// Somebody opens it, or asks for its changes: nobody closes it meanwhile.
    pub(super) opening: bool,
    /// It left the registry: whoever still holds it must ask for it again.
    pub(super) closed: bool,
    pub(super) listed_idle: bool,
    /// Where users are told of in place of clients: their clients, and those who may be back.
    users: HashMap<String, usize>,
    leaving: HashMap<String, Leaving>,
}

struct Member {
    node: Arc<str>,
    revision: u64,
    info: Bytes,
}

/// A user who may be back.
struct Leaving {
    until: Instant,
    /// Who left last.
    client: Uuid,
    info: Bytes,
}

/// What listeners are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Join(Bytes),
    Leave(Bytes),
}

/// What a change leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Tell(Event),
    /// To be told unless this user is back by then.
    Later(Instant, String),
}

impl ViewState {
    /// Whether it is not opened any more, since nobody listens.
    pub(super) fn stop_opening_unheard(&mut self) -> bool {
        self.opening &= !self.audience.is_empty();
        !self.opening
    }
}

impl View {
    pub(super) fn new(channel: Channel, delay: Duration) -> Self {
        Self { channel, delay, opened: watch::Sender::default(), state: Mutex::default() }
    }

    /// Takes a record. Those that came before, or are older, have no effect.
    pub(super) fn take(&self, record: Record) -> Effect {
        let mut state = self.state.lock();
        let Record { occupant, info, departed, revision } = record;
        let Some(member) = state.members.get_mut(&occupant.client) else {
            let Some(info) = info else {
                return departed
                    .map_or(Effect::Nothing, |departed| state.had_left(occupant.client, departed, self.delay));
            };
            let member = Member { node: occupant.node, revision, info: info.clone() };
            state.members.insert(occupant.client, member);
            return state.came(info, self.delay);
        };
        let is_news = match life::compare(&occupant.node, &member.node) {
            // What is written of a life that is over says nothing of the one after it, however late it is written.
            Some(Ordering::Less) => false,
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) | None => revision > member.revision,
        };
        match info {
            Some(info) if is_news => *member = Member { node: occupant.node, revision, info },
            None if is_news => return state.gone(occupant.client, self.delay),
            _ => {}
        }
        Effect::Nothing
    }

    /// Everybody who is there, also those who may be back, but for those of one node; `None` while that is not known.
    pub(super) fn members(&self, but: &str) -> Option<Vec<(Uuid, Bytes)>> {
        let state = self.state.lock();
        let others = state.members.iter().filter(|(_, member)| *member.node != *but);
        let others = others.map(|(client, member)| (*client, member.info.clone()));
        let leaving = state.leaving.values().map(|leaving| (leaving.client, leaving.info.clone()));
        state.open.then(|| others.chain(leaving).collect())
    }

    /// Adds the lives that members are recorded under.
    pub(super) fn lives(&self, lives: &mut BTreeSet<Arc<str>>) {
        let state = self.state.lock();
        for member in state.members.values() {
            if !lives.contains(&member.node) {
                lives.insert(Arc::clone(&member.node));
            }
        }
    }

    /// Members that the records, read up to `to`, do not show, with their revisions.
    pub(super) fn missing_from(&self, seen: impl Fn(Uuid) -> bool, to: u64) -> Vec<(Uuid, u64)> {
        let state = self.state.lock();
        let unseen = state.members.iter().filter(|(client, member)| member.revision <= to && !seen(**client));
        unseen.map(|(client, member)| (*client, member.revision)).collect()
    }

    /// A member turned out to be gone, unless there was word of it since that revision.
    pub(super) fn remove(&self, client: Uuid, revision: u64) -> Effect {
        let mut state = self.state.lock();
        let unchanged = state.members.get(&client).is_some_and(|member| member.revision == revision);
        if unchanged { state.gone(client, self.delay) } else { Effect::Nothing }
    }

    /// Revisions begin anew: those that are known say nothing any more.
    pub(super) fn forget_revisions(&self) {
        self.state.lock().members.values_mut().for_each(|member| member.revision = 0);
    }

    /// The time of a user who may be back is over: what is to be told.
    pub(super) fn due(&self, user: &str, at: Instant) -> Option<Event> {
        let mut state = self.state.lock();
        let is_it = state.leaving.get(user).is_some_and(|leaving| leaving.until == at);
        let leaving = is_it.then(|| state.leaving.remove(user)).flatten()?;
        state.open.then_some(Event::Leave(leaving.info))
    }

    /// Appends an event to every listener's outbox; whoever has to be flushed is added to `touched`.
    pub(super) fn tell(&self, event: &Event, touched: &mut Vec<Arc<Outbox>>) -> Reach {
        let (Event::Join(info) | Event::Leave(info)) = event;
        // What is no `ClientInfo` was written by nobody of ours.
        let Ok(info) = serde_json::from_slice::<ClientInfo>(info) else { return Reach::default() };
        let channel = self.channel.clone();
        let push = match event {
            Event::Join(_) => Push::Join { channel, info },
            Event::Leave(_) => Push::Leave { channel, info },
        };
        let frames = Frames::new(Content::default(), move |format, _| Some(pushed(format, push.clone())));
        // Encoded before the lock is taken.
        let formats = self.state.lock().audience.formats();
        frames.prepare(formats, false);
        self.state.lock().audience.deliver(&frames, Offset::NONE, touched)
    }
}

impl ViewState {
    fn came(&mut self, info: Bytes, delay: Duration) -> Effect {
        let mut news = true;
        if let Some(user) = told_by_user(&info, delay) {
            let clients = self.users.entry(user.clone()).or_default();
            *clients += 1;
            news = *clients == 1 && self.leaving.remove(&user).is_none();
        }
        if news && self.open { Effect::Tell(Event::Join(info)) } else { Effect::Nothing }
    }

    fn gone(&mut self, client: Uuid, delay: Duration) -> Effect {
        let Some(Member { info, .. }) = self.members.remove(&client) else { return Effect::Nothing };
        let Some(user) = told_by_user(&info, delay) else {
            return if self.open { Effect::Tell(Event::Leave(info)) } else { Effect::Nothing };
        };
        if let Some(clients) = self.users.get_mut(&user) {
            *clients -= 1;
            if *clients > 0 {
                return Effect::Nothing;
            }
            self.users.remove(&user);
        }
        self.may_be_back(user, Leaving { until: Instant::now() + delay, client, info })
    }

    /// Somebody had left before it was known here that they had been there: views on other nodes wait for them, and whoever
    /// listens may come from one.
    fn had_left(&mut self, client: Uuid, Departed { info, ago }: Departed, delay: Duration) -> Effect {
        let Some(user) = told_by_user(&info, delay) else { return Effect::Nothing };
        // Once it is known who is there, a departure of nobody is one that was taken before.
        if self.open || ago >= delay || self.users.contains_key(&user) {
            return Effect::Nothing;
        }
        self.may_be_back(user, Leaving { until: Instant::now() + (delay - ago), client, info })
    }

    fn may_be_back(&mut self, user: String, leaving: Leaving) -> Effect {
        let until = leaving.until;
        if self.leaving.get(&user).is_some_and(|other| other.until >= until) {
            return Effect::Nothing;
        }
        self.leaving.insert(user.clone(), leaving);
        Effect::Later(until, user)
    }
}

/// The user, where users are told of; anonymous ones cannot be told apart, so there each client counts.
fn told_by_user(info: &[u8], delay: Duration) -> Option<String> {
    if delay.is_zero() {
        return None;
    }
    Some(user(info)).filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Occupant;

    fn view(delay: Duration) -> View {
        let view = View::new(Channel::parse("room", 255).expect("a channel"), delay);
        view.state.lock().open = true;
        view
    }

    fn info(user: &str) -> Bytes {
        serde_json::to_vec(&ClientInfo { user: user.to_owned(), ..ClientInfo::default() }).expect("JSON").into()
    }

    fn record(node: &str, client: u128, revision: u64, info: Option<Bytes>) -> Record {
        let channel = Channel::parse("room", 255).expect("a channel");
        let occupant = Occupant { node: node.into(), channel, client: Uuid::from_u128(client) };
        Record { occupant, info, departed: None, revision }
    }

    fn departure(node: &str, client: u128, revision: u64, user: &str, ago: Duration) -> Record {
        Record { departed: Some(Departed { info: info(user), ago }), ..record(node, client, revision, None) }
    }

    #[test]
    fn what_comes_twice_is_told_once() {
        let view = view(Duration::ZERO);
        let (joins, leaves) = (Effect::Tell(Event::Join(info("ann"))), Effect::Tell(Event::Leave(info("ann"))));
        assert_eq!(view.take(record("a~1", 1, 5, Some(info("ann")))), joins);
        assert_eq!(view.take(record("a~1", 1, 5, Some(info("ann")))), Effect::Nothing);
        assert_eq!(view.take(record("a~1", 1, 9, Some(info("ann")))), Effect::Nothing, "told anew, not come anew");
        assert_eq!(view.take(record("a~1", 1, 7, None)), Effect::Nothing, "older than what is known");
        assert_eq!(view.take(record("a~1", 1, 10, None)), leaves);
        assert_eq!(view.take(record("a~1", 1, 11, None)), Effect::Nothing);
    }

    #[test]
    fn the_end_of_an_earlier_life_takes_nobody_with_it_who_lives_on() {
        let view = view(Duration::ZERO);
        view.take(record("a~1", 1, 1, Some(info("ann"))));
        assert_eq!(view.take(record("a~2", 1, 2, Some(info("ann")))), Effect::Nothing);
        assert_eq!(view.take(record("a~1", 1, 3, None)), Effect::Nothing);
        assert_eq!(view.take(record("a~1", 1, 4, Some(info("ann")))), Effect::Nothing, "written late");
        assert_eq!(view.take(record("a~1", 1, 5, None)), Effect::Nothing);
        assert_eq!(view.members("b~1").map(|members| members.len()), Some(1));
        assert_eq!(view.take(record("a~2", 1, 6, None)), Effect::Tell(Event::Leave(info("ann"))));
    }

    #[test]
    fn whoever_was_heard_of_since_is_not_removed() {
        let view = view(Duration::ZERO);
        view.take(record("a~1", 1, 1, Some(info("ann"))));
        let unseen = view.missing_from(|_| false, 5);
        view.take(record("a~1", 1, 7, Some(info("ann"))));
        assert_eq!(view.remove(unseen[0].0, unseen[0].1), Effect::Nothing);
    }

    #[test]
    fn nothing_is_told_before_it_is_known_who_was_there() {
        let view = view(Duration::ZERO);
        view.state.lock().open = false;
        assert_eq!(view.take(record("a~1", 1, 1, Some(info("ann")))), Effect::Nothing);
        assert_eq!(view.members(""), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_is_back_in_time_never_left() {
        let view = view(Duration::from_secs(5));
        assert_eq!(view.take(record("a~1", 1, 1, Some(info("ann")))), Effect::Tell(Event::Join(info("ann"))));
        assert_eq!(view.take(record("a~1", 2, 2, Some(info("ann")))), Effect::Nothing, "another tab");
        assert_eq!(view.take(record("a~1", 1, 3, None)), Effect::Nothing, "the other tab is still there");
        let Effect::Later(until, user) = view.take(record("a~1", 2, 4, None)) else { panic!("to be told later") };
        assert_eq!(view.take(record("b~1", 3, 5, Some(info("ann")))), Effect::Nothing, "back on another node");
        assert_eq!(view.due(&user, until), None);
        let Effect::Later(until, user) = view.take(record("b~1", 3, 6, None)) else { panic!("to be told later") };
        assert_eq!(view.due(&user, until), Some(Event::Leave(info("ann"))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_left_while_it_opened_may_be_back() {
        let view = view(Duration::from_secs(5));
        view.state.lock().open = false;
        view.take(record("a~1", 1, 1, Some(info("ann"))));
        assert!(matches!(view.take(record("a~1", 1, 2, None)), Effect::Later(..)));
        view.state.lock().open = true;
        assert_eq!(view.take(record("b~1", 2, 3, Some(info("ann")))), Effect::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn who_had_left_just_before_may_be_back_and_nobody_else() {
        let view = view(Duration::from_secs(5));
        view.state.lock().open = false;
        let Effect::Later(until, user) = view.take(departure("a~1", 1, 1, "ann", Duration::from_secs(2))) else {
            panic!("to be told later")
        };
        assert_eq!(until, Instant::now() + Duration::from_secs(3));
        assert_eq!(view.take(departure("a~1", 2, 2, "bob", Duration::from_secs(5))), Effect::Nothing, "too long ago");
        view.take(record("a~1", 3, 3, Some(info("cid"))));
        assert_eq!(view.take(departure("b~1", 4, 4, "cid", Duration::ZERO)), Effect::Nothing, "another tab is there");
        view.state.lock().open = true;
        assert_eq!(view.take(departure("a~1", 5, 5, "dan", Duration::ZERO)), Effect::Nothing, "had been taken before");
        assert_eq!(view.take(record("b~1", 6, 6, Some(info("ann")))), Effect::Nothing);
        assert_eq!(view.due(&user, until), None);
        assert_eq!(view.take(record("b~1", 7, 7, Some(info("bob")))), Effect::Tell(Event::Join(info("bob"))));
    }

    #[tokio::test(start_paused = true)]
    async fn anonymous_clients_are_told_one_by_one() {
        let view = view(Duration::from_secs(5));
        assert!(matches!(view.take(record("a~1", 1, 1, Some(info("")))), Effect::Tell(Event::Join(_))));
        assert!(matches!(view.take(record("a~1", 2, 2, Some(info("")))), Effect::Tell(Event::Join(_))));
        assert!(matches!(view.take(record("a~1", 1, 3, None)), Effect::Tell(Event::Leave(_))));
    }
}
