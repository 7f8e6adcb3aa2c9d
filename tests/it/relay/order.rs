//! Whoever has a publication has everything before it, in all channels of a namespace that has one order, or is told that
//! nobody can go on from there.

use std::collections::HashSet;

use midplane::backplane::Stored;
use midplane::protocol::socketio::Stand;

use super::*;

/// Publications before the first is lost.
const CALM: u64 = 20;

/// A stage of one such namespace, and who listens to two channels of it.
async fn set() -> (Stage, Ear, [Membership; 2]) {
    let ordered = Namespace { ordered: true, socketio: Some("/".into()), ..namespaces::open("chat", Some(1000)) };
    // Faults know no order of namespaces, so everything takes one feed.
    let stage = Stage::of(1, [ordered], Turnstile::new(64, 64, PATIENCE));
    let ear = Ear::of_socketio();
    let memberships = [stage.listen(&ear, "chat:red").await, stage.listen(&ear, "chat:blue").await];
    (stage, ear, memberships)
}

impl Stage {
    /// Joins as whoever comes back: nothing comes before it is let in.
    async fn wait_in(&self, ear: &Ear, channel: &str) -> Membership {
        let channel = channel_of(channel);
        let namespace = self.namespaces.of(&channel).expect("a namespace");
        let waits = Wish { waits: true, positioned: true, ..wish() };
        self.relay.join(&channel, namespace, &waits, &ear.outbox).await.expect("joins").membership
    }
}

/// What was heard, each with where one stands then.
fn events(ear: &Ear) -> Vec<(u64, Stand)> {
    let events = ear.events().into_iter();
    let parsed = events.map(|event| {
        let stand = Stand::parse(event[2].as_str().expect("an end")).expect("a stand");
        (event[1].as_u64().expect("a number"), stand)
    });
    parsed.collect()
}

#[tokio::test]
async fn an_end_that_one_can_go_on_from_has_everything_before_it_whatever_is_lost() {
    let (stage, ear, _listening) = set().await;
    stage.faults.judge(|message| match number(message) % 11 {
        _ if number(message) < CALM => Fate::Pass,
        0 => Fate::Drop,
        3 => Fate::Twice,
        6 => Fate::Late,
        _ => Fate::Pass,
    });
    let mut published = Vec::new();
    for number in 0..200 {
        let channel = ["chat:red", "chat:blue"][number as usize % 3 % 2];
        published.push((number, stage.publish(channel, [number]).await.expect("stored").offset));
        // So that holes are found and healed in between.
        if number % 20 == 19 {
            eventually("most of it is heard", async || (ear.events().len() as u64 > number - 10).then_some(())).await;
        }
    }
    stage.faults.cease();
    let mut number = 200;
    eventually("one can go on again", async || {
        published.push((number, stage.publish("chat:red", [number]).await.expect("stored").offset));
        number += 1;
        events(&ear).last().filter(|(_, stand)| !stand.doubtful).map(|_| ())
    })
    .await;
    let (mut seen, mut certain) = (HashSet::new(), 0u64);
    for (number, stand) in events(&ear) {
        assert!(seen.insert(number), "{number} came twice");
        if stand.doubtful {
            continue;
        }
        certain += 1;
        let missing =
            published.iter().find(|(number, offset)| *offset <= stand.position.offset && !seen.contains(number));
        assert_eq!(missing, None, "whoever had {number} was told that it has all up to {stand}");
    }
    assert!(certain > CALM && certain < seen.len() as u64, "{certain} of {}", seen.len());
}

#[tokio::test]
async fn without_a_loss_one_can_go_on_from_every_end() {
    let (stage, ear, _listening) = set().await;
    for number in 0..10 {
        stage.publish(["chat:red", "chat:blue"][number as usize % 2], [number]).await;
    }
    eventually("all is heard", async || (events(&ear).len() == 10).then_some(())).await;
    assert!(events(&ear).iter().all(|(_, stand)| !stand.doubtful));
}

#[tokio::test]
async fn whoever_comes_back_is_let_in_to_all_channels_at_once_and_reads_what_lies_between() {
    let (stage, _ear, listening) = set().await;
    let since = stage.publish("chat:red", [0]).await.expect("stored");
    for number in 1..=6 {
        stage.publish(["chat:red", "chat:blue"][number as usize % 2], [number]).await;
    }
    let back = Ear::of_socketio();
    let mut memberships = Vec::new();
    for channel in ["chat:red", "chat:blue"] {
        memberships.push(stage.wait_in(&back, channel).await);
    }
    let all: Vec<_> = memberships.iter().collect();
    let through = stage.relay.let_in(&all, &since).await.expect("everything before is known");
    stage.publish("chat:blue", [7]).await;
    let mut missed: Vec<Stored> = Vec::new();
    for membership in &memberships {
        let take = |message| {
            missed.push(message);
            Ok(())
        };
        stage.relay.missed(membership, since.offset, &through, take).await.expect("it is stored");
    }
    missed.sort_by_key(|message| message.offset);
    let missed: Vec<u64> =
        missed.iter().map(|message| String::from_utf8_lossy(&message.data).parse().expect("a number")).collect();
    let newest = || events(&back).last().map(|(number, _)| *number);
    eventually("what comes now is heard", async || (newest() == Some(7)).then_some(())).await;
    let live: Vec<_> = events(&back).into_iter().map(|(number, _)| number).collect();
    // What is on its way to the pump when somebody is let in comes live, all else is read.
    assert_eq!([missed, live].concat(), [1, 2, 3, 4, 5, 6, 7]);
    drop(listening);
}

#[tokio::test]
async fn where_the_last_that_was_published_was_healed_nobody_was_let_in_until_more_was() {
    let (stage, ear, _listening) = set().await;
    stage.publish("chat:red", [0]).await;
    eventually("it is heard", async || (events(&ear).len() == 1).then_some(())).await;
    stage.faults.judge(|message| if number(message) == 1 { Fate::Drop } else { Fate::Pass });
    let last = stage.publish("chat:red", [1]).await.expect("stored");
    stage.faults.cease();
    stage.backplane.announce(Gap { scope: Scope::Everything, cause: GapCause::Reconnect }).await;
    eventually("it is healed", async || (events(&ear).len() == 2).then_some(())).await;
    let back = Ear::of_socketio();
    let membership = stage.wait_in(&back, "chat:red").await;
    let through = stage.relay.let_in(&[&membership], &last).await;
    assert_eq!(through.map(|through| through.offset >= last.offset), Ok(true));
}

#[tokio::test]
async fn whoever_had_what_a_store_began_anew_with_was_refused_while_nothing_else_was_published() {
    let (stage, ear, _listening) = set().await;
    stage.publish("chat:red", [0]).await;
    eventually("it is heard", async || (events(&ear).len() == 1).then_some(())).await;
    *stage.faults.epoch.lock() = Some(midplane::protocol::Epoch::new("another"));
    stage.backplane.announce(Gap { scope: Scope::Namespace("chat".into()), cause: GapCause::EpochChanged }).await;
    let rooms = ["chat:red", "chat:blue"];
    let mut since = None;
    for room in rooms {
        since = eventually("its channels begin anew", async || {
            let position = stage.join(&Ear::of_socketio(), room, None).await.position.expect("a position");
            (position.epoch.as_str() == "another").then_some(Some(position))
        })
        .await;
    }
    let back = Ear::of_socketio();
    let memberships = [stage.wait_in(&back, rooms[0]).await, stage.wait_in(&back, rooms[1]).await];
    let through = stage.relay.let_in(&memberships.each_ref(), &since.expect("there are rooms")).await;
    assert_eq!(through.map(|through| through.epoch.as_str().to_owned()), Ok("another".to_owned()));
}

#[tokio::test]
async fn what_was_read_for_one_who_came_back_was_read_again_for_all_others() {
    let (stage, _ear, _listening) = set().await;
    let since = stage.publish("chat:red", [0]).await.expect("stored");
    // Nobody listens to it here, so the node remembers nothing.
    stage.publish("chat:green", 1..=5).await;
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    stage.faults.look_on(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let mut read_by_first = None;
    for _ in 0..3 {
        let membership = stage.wait_in(&Ear::of_socketio(), "chat:green").await;
        let through = stage.relay.let_in(&[&membership], &since).await.expect("everything before is known");
        let mut missed = 0;
        let take = |_| {
            missed += 1;
            Ok(())
        };
        stage.relay.missed(&membership, since.offset, &through, take).await.expect("it is stored");
        assert_eq!(missed, 5);
        let read = reads.load(Ordering::SeqCst);
        assert_eq!(*read_by_first.get_or_insert(read), read);
    }
    assert!(read_by_first > Some(0));
}

#[tokio::test]
async fn an_event_that_no_node_of_this_version_reads_was_counted_as_what_a_backend_published() {
    let (stage, ear, _listening) = set().await;
    let events = Channel::of_events("chat");
    let namespace = stage.namespaces.of(&events).expect("a namespace");
    let joined = stage.relay.join(&events, namespace, &wish(), &ear.outbox).await.expect("joins");
    drop(joined.hold);
    let message = Outgoing { data: r#"{"later":true}"#.into(), ..Outgoing::default() };
    stage.relay.publish(&events, message, Source::Http).await.expect("publishes");
    let counted = r#"midplane_cluster_malformed_total{topic="emit"} 1"#;
    eventually("it is counted", async || stage.telemetry.render().contains(counted).then_some(())).await;
    let metrics = stage.telemetry.render();
    let errors = metrics.lines().filter(|line| line.starts_with("midplane_publish_errors_total"));
    assert!(errors.clone().all(|line| line.ends_with(" 0")), "{:?}", errors.collect::<Vec<_>>());
}
