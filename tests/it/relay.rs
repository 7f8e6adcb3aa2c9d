//! The relay heals what the backplane loses, or tells those who were promised to be told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use midplane::backplane::embedded::Embedded;
use midplane::backplane::faults::{Fate, Faults, Faulty};
use midplane::backplane::{Backplane, Gap, GapCause, History, Incoming, Outgoing, PublishError, Scope, feed};
use midplane::hub::Control;
use midplane::protocol::{Channel, Offset, Position};
use midplane::relay::{Joined, Outcome, Refusal, Relay, Since, Wish};
use midplane::settings::{Namespace, Namespaces};
use midplane::telemetry::{Source, Telemetry};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::listener::Ear;
use crate::support::{eventually, namespaces};

/// A relay on an embedded backplane that fails when told to.
struct Stage {
    relay: Arc<Relay>,
    backplane: Arc<Faulty>,
    faults: Arc<Faults>,
    namespaces: Namespaces,
    telemetry: Arc<Telemetry>,
    stop: CancellationToken,
}

impl Stage {
    /// `chat` keeps 10 publications, `live` none.
    fn set() -> Self {
        Self::set_with([namespaces::open("chat", Some(10)), namespaces::open("live", None)])
    }

    fn set_with(namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        let namespaces = namespaces::registry(namespaces);
        let (sender, feeds) = feed::open(2);
        let faults = Arc::new(Faults::default());
        let embedded = Embedded::new(&namespaces, 1 << 20, sender);
        let (backplane, feeds) = Faulty::around(embedded, feeds, Arc::clone(&faults));
        let telemetry = Telemetry::new(&namespaces);
        let relay = Relay::new(Arc::clone(&backplane) as Arc<dyn Backplane>, &namespaces, Arc::clone(&telemetry));
        let stop = CancellationToken::new();
        relay.start(feeds, &TaskTracker::new(), &stop);
        Self { relay, backplane, faults, namespaces, telemetry, stop }
    }

    /// The lines of the metric of gaps, as an operator sees them.
    fn gaps(&self) -> Vec<String> {
        let metrics = self.telemetry.render();
        let gaps = metrics.lines().filter(|line| line.starts_with("midplane_gaps"));
        gaps.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
    }

    async fn join(&self, ear: &Ear, channel: &str, since: Option<&Position>) -> Joined {
        self.join_as(ear, channel, since, true).await
    }

    async fn join_as(&self, ear: &Ear, channel: &str, since: Option<&Position>, positioned: bool) -> Joined {
        let channel = channel_of(channel);
        let namespace = self.namespaces.of(&channel).expect("a namespace of the stage");
        let since = since.map(|at| Since { offset: at.offset, epoch: at.epoch.as_str().to_owned() });
        let wish = Wish { since, positioned, max_publications: 100, max_bytes: 1 << 20, ..Wish::default() };
        self.relay.join(&channel, namespace, &wish, &ear.outbox).await.expect("joins")
    }

    async fn publish(&self, channel: &str, numbers: impl IntoIterator<Item = u64>) -> Option<Position> {
        let mut last = None;
        for number in numbers {
            let message = Outgoing { data: number.to_string().into(), ..Outgoing::default() };
            last = self.relay.publish(&channel_of(channel), message, Source::Http).await.expect("publishes").position;
        }
        last
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn channel_of(name: &str) -> Channel {
    Channel::parse(name, 255).expect("a channel name")
}

fn number(message: &Incoming) -> u64 {
    String::from_utf8_lossy(&message.data).parse().expect("a number")
}

fn recovered(joined: &Joined) -> Result<Vec<u64>, Refusal> {
    match &joined.outcome {
        Outcome::Recovered(messages) => Ok(messages
            .iter()
            .map(|message| String::from_utf8_lossy(&message.data).parse().expect("a number"))
            .collect()),
        Outcome::Refused(refusal) => Err(*refusal),
        Outcome::Fresh => panic!("recovery was asked for"),
    }
}

async fn hears(ear: &Ear, numbers: impl IntoIterator<Item = u64>) {
    let expected: Vec<u64> = numbers.into_iter().collect();
    eventually("everything is heard", async || (ear.heard().len() >= expected.len()).then_some(())).await;
    assert_eq!(ear.heard(), expected);
}

#[tokio::test]
async fn dropped_deliveries_are_healed_in_order_and_without_doubles() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.faults.judge(|message| match number(message) % 5 {
        0 => Fate::Drop,
        1 => Fate::Twice,
        2 => Fate::Late,
        _ => Fate::Pass,
    });
    for chunk in 0..20 {
        stage.publish("chat:room", chunk * 4..chunk * 4 + 4).await;
        let before = chunk as usize * 4;
        eventually("the chunk before is whole", async || (ear.heard().len() >= before).then_some(())).await;
    }
    stage.faults.cease();
    stage.publish("chat:room", [80]).await;
    hears(&ear, 0..=80).await;
    assert!(ear.requests().is_empty(), "nobody was told of a loss");
}

#[tokio::test]
async fn a_loss_on_a_channel_that_falls_quiet_is_found_when_the_backplane_reconnects() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", [2, 3]).await;
    stage.backplane.announce(Gap { scope: Scope::Everything, cause: GapCause::Reconnect }).await;
    hears(&ear, [1, 2, 3]).await;
}

#[tokio::test]
async fn a_nudge_that_comes_while_the_channel_is_healed_is_not_forgotten() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.judge(|message| if number(message) == 3 { Fate::Pass } else { Fate::Drop });
    stage.faults.history_held.store(true, Ordering::SeqCst);
    stage.publish("chat:room", [2, 3]).await;
    eventually("the hole is found", async || (stage.gaps().len() == 1).then_some(())).await;
    stage.faults.history_read.notified().await;
    let at = stage.publish("chat:room", [4]).await.expect("stored");
    let scope = Scope::Channel { channel: channel_of("chat:room"), up_to: at.offset };
    stage.backplane.announce(Gap { scope, cause: GapCause::Nudge }).await;
    // What is not stored passes at once, behind the nudge.
    stage.faults.judge(|_| Fate::Pass);
    let marker = Outgoing { data: "99".into(), skip_history: true, ..Outgoing::default() };
    stage.relay.publish(&channel_of("chat:room"), marker, Source::Http).await.expect("publishes");
    hears(&ear, [1, 99]).await;
    stage.faults.history_held.store(false, Ordering::SeqCst);
    hears(&ear, [1, 99, 2, 3, 4]).await;
}

#[tokio::test]
async fn what_is_pushed_out_while_it_is_read_is_not_taken_for_whole() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    stage.faults.judge(|message| if number(message) == 1 { Fate::Drop } else { Fate::Pass });
    // The first page ends at 1; when the next one is read, 2 to 9 are gone.
    stage.faults.history_lag.store(5, Ordering::SeqCst);
    stage.faults.history_held.store(true, Ordering::SeqCst);
    stage.publish("chat:room", 1..=6).await;
    stage.faults.history_read.notified().await;
    stage.publish("chat:room", 7..=20).await;
    stage.faults.history_held.store(false, Ordering::SeqCst);
    let requests =
        eventually("the loss is told", async || Some(ear.requests()).filter(|asked| !asked.is_empty())).await;
    assert_eq!(requests, [Control::Lost(channel_of("chat:room"))]);
    assert_eq!(ear.heard(), [0], "nothing behind the hole reaches a positioned listener");
}

#[tokio::test]
async fn pages_that_meet_are_whole_however_many_messages_they_bring() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    stage.faults.judge(|message| if number(message) == 1 { Fate::Drop } else { Fate::Pass });
    // The first page ends at 4, which is still there when the next one is read; 0 is not.
    stage.faults.history_lag.store(2, Ordering::SeqCst);
    stage.faults.history_held.store(true, Ordering::SeqCst);
    stage.publish("chat:room", 1..=6).await;
    stage.faults.history_read.notified().await;
    stage.publish("chat:room", 7..=13).await;
    stage.faults.history_held.store(false, Ordering::SeqCst);
    hears(&ear, 0..=13).await;
    assert!(ear.requests().is_empty(), "nobody was told of a loss");
}

#[tokio::test]
async fn an_epoch_that_changes_while_the_channel_is_healed_is_not_forgotten() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    let _witness = stage.join(&Ear::new(), "chat:witness", None).await;
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.judge(|message| if number(message) == 2 { Fate::Drop } else { Fate::Pass });
    stage.faults.history_held.store(true, Ordering::SeqCst);
    stage.publish("chat:room", [2, 3]).await;
    stage.faults.history_read.notified().await;
    *stage.faults.epoch.lock() = Some(midplane::protocol::Epoch::new("another"));
    stage.backplane.announce(Gap { scope: Scope::Namespace("chat".into()), cause: GapCause::EpochChanged }).await;
    let told = |line: &String| line.starts_with("midplane_gaps_total{cause=\"epoch_changed\"");
    eventually("the change is heard of", async || stage.gaps().iter().any(told).then_some(())).await;
    stage.faults.history_held.store(false, Ordering::SeqCst);
    let requests =
        eventually("the loss is told", async || Some(ear.requests()).filter(|asked| !asked.is_empty())).await;
    assert_eq!(requests, [Control::Lost(channel_of("chat:room"))]);
    let position = stage.join(&Ear::new(), "chat:room", None).await.position.expect("a position");
    assert_eq!(position.epoch.as_str(), "another");
}

#[tokio::test]
async fn nothing_is_published_once_it_is_closed_to_publishers() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [1]).await;
    stage.relay.close_to_publishers().await;
    let late = stage.relay.publish(&channel_of("chat:room"), Outgoing::default(), Source::Http).await;
    assert!(matches!(late, Err(PublishError::Unavailable(_))), "{late:?}");
    hears(&ear, [1]).await;
}

#[tokio::test]
async fn the_first_publication_of_an_empty_channel_is_no_gap_however_busy_others_are() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:busy", 0..50).await;
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    assert_eq!(stage.gaps(), Vec::<String>::new());
    assert!(ear.requests().is_empty(), "nobody was told of a loss");
}

#[tokio::test]
async fn a_nudge_for_what_was_never_stored_disturbs_nobody() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [1]).await;
    let elsewhere = stage.publish("chat:other", [2]).await.expect("stored");
    for up_to in [elsewhere.offset, Offset(u64::MAX)] {
        let scope = Scope::Channel { channel: channel_of("chat:room"), up_to };
        stage.backplane.announce(Gap { scope, cause: GapCause::Nudge }).await;
    }
    stage.publish("chat:room", [3]).await;
    hears(&ear, [1, 3]).await;
    assert!(ear.requests().is_empty(), "nobody was told of a loss");
}

#[tokio::test]
async fn the_first_publication_after_everything_aged_out_is_no_loss() {
    let brief = |mut namespace: Namespace| {
        let history = namespace.history.as_mut().expect("a history");
        (history.ttl, history.horizon) = (Duration::from_secs(1), Duration::from_secs(8));
        namespace
    };
    let stage = Stage::set_with([brief(namespaces::open("chat", Some(10)))]);
    let (ear, busy) = (Ear::new(), Ear::new());
    let first = stage.join(&ear, "chat:room", None).await;
    let second = stage.join(&busy, "chat:busy", None).await;
    drop((first.hold, second.hold));
    let at = stage.publish("chat:room", [1]).await.expect("stored");
    hears(&ear, [1]).await;
    let mut number = 0;
    eventually("the publication has aged out", async || {
        number += 1;
        stage.publish("chat:busy", [number]).await;
        let page = stage.backplane.page(&channel_of("chat:room"), at.offset, 1).await.expect("a page");
        page.messages.is_empty().then_some(())
    })
    .await;
    stage.publish("chat:room", [2]).await;
    hears(&ear, [1, 2]).await;
    assert!(ear.requests().is_empty(), "nobody was told of a loss");
    assert_eq!(stage.gaps(), Vec::<String>::new());
}

#[tokio::test]
async fn a_nudge_heals_its_channel() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.faults.judge(|_| Fate::Drop);
    let at = stage.publish("chat:room", [1]).await.expect("stored");
    let scope = Scope::Channel { channel: channel_of("chat:room"), up_to: at.offset };
    stage.backplane.announce(Gap { scope, cause: GapCause::Nudge }).await;
    hears(&ear, [1]).await;
}

#[tokio::test]
async fn a_fresh_subscription_is_looked_at_again_by_itself() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
}

#[tokio::test]
async fn more_loss_than_is_stored_is_told_and_not_papered_over() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", 1..50).await;
    stage.faults.cease();
    stage.publish("chat:room", [50]).await;
    let requests =
        eventually("the loss is told", async || Some(ear.requests()).filter(|asked| !asked.is_empty())).await;
    assert_eq!(requests, [Control::Lost(channel_of("chat:room"))]);
    stage.publish("chat:room", [51]).await;
    assert_eq!(ear.heard(), [0], "nothing behind the hole reaches a positioned listener");
}

#[tokio::test]
async fn healing_waits_while_history_is_away_and_for_replicas_that_lag() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    drop(joined.hold);
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.history_down.store(true, Ordering::SeqCst);
    stage.faults.judge(|message| if number(message) == 2 { Fate::Drop } else { Fate::Pass });
    stage.publish("chat:room", [2, 3, 4]).await;
    stage.faults.history_lag.store(3, Ordering::SeqCst);
    stage.faults.history_down.store(false, Ordering::SeqCst);
    hears(&ear, [1, 2, 3, 4]).await;
}

#[tokio::test]
async fn without_history_a_known_loss_is_told_to_positioned_listeners() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "live:room", None).await;
    drop(joined.hold);
    stage.publish("live:room", [1]).await;
    hears(&ear, [1]).await;
    stage.backplane.announce(Gap { scope: Scope::Everything, cause: GapCause::Reconnect }).await;
    let requests =
        eventually("the loss is told", async || Some(ear.requests()).filter(|asked| !asked.is_empty())).await;
    assert_eq!(requests, [Control::Lost(channel_of("live:room"))]);
}

#[tokio::test]
async fn who_comes_back_gets_everything_since_its_position_or_a_reason() {
    let stage = Stage::set();
    let witness = Ear::new();
    let joined = stage.join(&witness, "chat:room", None).await;
    let start = joined.position.clone().expect("a position");
    drop(joined.hold);
    let at_3 = stage.publish("chat:room", 1..=3).await.expect("stored");
    stage.publish("chat:room", 4..=6).await;
    hears(&witness, 1..=6).await;
    let other_epoch = Position { epoch: midplane::protocol::Epoch::new("other"), ..at_3.clone() };
    let ahead = Position { offset: Offset(1000), ..at_3.clone() };
    for (since, expected) in [
        (&start, Ok(vec![1, 2, 3, 4, 5, 6])),
        (&at_3, Ok(vec![4, 5, 6])),
        (&other_epoch, Err(Refusal::Epoch)),
        (&ahead, Err(Refusal::Ahead)),
    ] {
        let joined = stage.join(&Ear::new(), "chat:room", Some(since)).await;
        assert_eq!(recovered(&joined), expected, "{since:?}");
    }
    stage.publish("chat:room", 7..=14).await;
    hears(&witness, 1..=14).await;
    let joined = stage.join(&Ear::new(), "chat:room", Some(&at_3)).await;
    assert_eq!(recovered(&joined), Ok((4..=14).collect()), "the node's own memory reaches further than the store");
}

#[tokio::test]
async fn recovery_from_the_store_is_whole_or_refused() {
    let stage = Stage::set();
    // Nobody on this node listens while these are published: its memory holds nothing.
    let at_1 = stage.publish("chat:room", [1]).await.expect("stored");
    let at_2 = stage.publish("chat:room", [2]).await.expect("stored");
    stage.publish("chat:room", 3..=12).await;
    let joined = stage.join(&Ear::new(), "chat:room", Some(&at_2)).await;
    assert_eq!(recovered(&joined), Ok((3..=12).collect()), "exactly as many as are kept");
    let joined = stage.join(&Ear::new(), "chat:room", Some(&at_1)).await;
    assert_eq!(recovered(&joined), Err(Refusal::Trimmed));
}

#[tokio::test]
async fn who_left_an_empty_channel_comes_back_to_it_on_a_node_that_never_heard_of_it() {
    let stage = Stage::set();
    // A position of the namespace, as a subscriber to an empty channel gets it.
    let start = stage.publish("chat:other", [1]).await.expect("stored");
    stage.publish("chat:other", 2..50).await;
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", Some(&start)).await;
    assert_eq!(recovered(&joined), Ok(vec![]));
    drop(joined.hold);
    stage.publish("chat:room", [3]).await;
    hears(&ear, [3]).await;
}

#[tokio::test]
async fn who_stands_further_on_in_an_empty_channel_disturbs_nobody() {
    let stage = Stage::set();
    let (early, late) = (Ear::new(), Ear::new());
    let first = stage.join(&early, "chat:room", None).await;
    drop(first.hold);
    let further = stage.publish("chat:other", [1, 2]).await.expect("stored");
    let second = stage.join(&late, "chat:room", Some(&further)).await;
    assert_eq!(recovered(&second), Ok(vec![]));
    drop(second.hold);
    stage.publish("chat:room", [3]).await;
    hears(&early, [3]).await;
    hears(&late, [3]).await;
    assert!(early.requests().is_empty() && late.requests().is_empty(), "nobody was told of a loss");
}

#[tokio::test]
async fn who_was_promised_nothing_gets_what_is_left_when_a_hole_cannot_be_healed() {
    let stage = Stage::set();
    let (positioned, plain) = (Ear::new(), Ear::new());
    let first = stage.join(&positioned, "chat:room", None).await;
    let second = stage.join_as(&plain, "chat:room", None, false).await;
    drop((first.hold, second.hold));
    stage.publish("chat:room", [0]).await;
    hears(&plain, [0]).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    stage.faults.judge(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Fate::Drop
    });
    stage.publish("chat:room", 1..50).await;
    eventually("all are dropped", async || (dropped.load(Ordering::SeqCst) == 49).then_some(())).await;
    stage.faults.cease();
    stage.publish("chat:room", [50, 51]).await;
    hears(&plain, [0, 50, 51]).await;
    let requests =
        eventually("the loss is told", async || Some(positioned.requests()).filter(|it| !it.is_empty())).await;
    assert_eq!(requests, [Control::Lost(channel_of("chat:room"))]);
}

#[tokio::test]
async fn removed_history_is_refused_and_not_called_complete() {
    let stage = Stage::set();
    stage.publish("chat:other", [0]).await;
    let witness = Ear::new();
    let joined = stage.join(&witness, "chat:room", None).await;
    let start = joined.position.clone().expect("a position");
    drop(joined.hold);
    stage.publish("chat:room", [1, 2]).await;
    hears(&witness, [1, 2]).await;
    stage.backplane.remove(&channel_of("chat:room")).await.expect("removes");
    let after = stage.publish("chat:room", [3]).await.expect("stored");
    hears(&witness, 1..=3).await;
    let joined = stage.join(&Ear::new(), "chat:room", Some(&start)).await;
    assert_eq!(recovered(&joined), Err(Refusal::Removed));
    let joined = stage.join(&Ear::new(), "chat:room", Some(&after)).await;
    assert_eq!(recovered(&joined), Ok(vec![]));
}

#[tokio::test]
async fn joining_under_fire_misses_nothing() {
    let stage = Stage::set();
    let ear = Ear::new();
    let first = stage.join(&ear, "chat:room", None).await;
    drop(first.hold);
    let publishing = async {
        for number in 0..500 {
            stage.publish("chat:room", [number]).await;
            tokio::task::yield_now().await;
        }
    };
    let joining = async {
        let mut ears = Vec::new();
        let mut position = first.position.clone().expect("a position");
        for _ in 0..50 {
            let late = Ear::new();
            let joined = stage.join(&late, "chat:room", Some(&position)).await;
            let mut numbers = recovered(&joined).unwrap_or_default();
            position = joined.position.clone().expect("a position");
            drop(joined.hold);
            tokio::task::yield_now().await;
            numbers.extend(late.heard());
            ears.push((late, numbers, joined.membership));
        }
        ears
    };
    let ((), ears) = tokio::join!(publishing, joining);
    hears(&ear, 0..500).await;
    for (_, numbers, _) in ears {
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
}

#[tokio::test]
async fn a_channel_is_let_go_of_after_its_last_listener() {
    let stage = Stage::set();
    let ear = Ear::new();
    let joined = stage.join(&ear, "chat:room", None).await;
    assert_eq!(stage.relay.channels(), [(channel_of("chat:room"), 1)]);
    drop(joined);
    assert!(stage.relay.channels().is_empty());
    stage.publish("chat:room", [1]).await;
    let lingers = async || {
        let joined = stage.join(&Ear::new(), "chat:room", None).await;
        joined.position.filter(|at| at.offset == Offset(1))
    };
    eventually("a channel that lingers goes on", lingers).await;
}
