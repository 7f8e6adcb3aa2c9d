//! Healing that meets something else meanwhile: history that moves on, lags, ages or has another epoch.

use super::*;

#[tokio::test]
async fn a_nudge_that_comes_while_the_channel_is_healed_is_not_forgotten() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.judge(|message| if number(message) == 3 { Fate::Pass } else { Fate::Drop });
    stage.faults.history_held.send_replace(true);
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
    stage.faults.history_held.send_replace(false);
    hears(&ear, [1, 99, 2, 3, 4]).await;
}

#[tokio::test]
async fn what_is_pushed_out_while_it_is_read_is_not_taken_for_whole() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    // The first page ends at 1; when the next one is read, 2 to 9 are gone.
    stage.publish_around_a_page(5, 1..=6, 7..=20).await;
    is_told_of_a_loss(&ear, "chat:room").await;
    assert_eq!(ear.heard(), [0], "nothing behind the hole reaches a positioned listener");
}

#[tokio::test]
async fn a_replica_that_still_has_the_position_does_not_prove_what_another_one_reads() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    // The first page holds the position and nothing behind it; when the next one is read, 0 to 9 are gone.
    stage.publish_around_a_page(6, 1..=6, 7..=20).await;
    is_told_of_a_loss(&ear, "chat:room").await;
    assert_eq!(ear.heard(), [0], "nothing behind the hole reaches a positioned listener");
}

#[tokio::test]
async fn pages_that_meet_are_whole_however_many_messages_they_bring() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    // The first page ends at 4, which is still there when the next one is read; 0 is not.
    stage.publish_around_a_page(2, 1..=6, 7..=13).await;
    hears(&ear, 0..=13).await;
    assert!(ear.requests().is_empty(), "nobody was told of a loss");
}

#[tokio::test]
async fn an_epoch_that_changes_while_the_channel_is_healed_is_not_forgotten() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    let _witness = stage.join(&Ear::new(), "chat:witness", None).await;
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.judge(|message| if number(message) == 2 { Fate::Drop } else { Fate::Pass });
    stage.faults.history_held.send_replace(true);
    stage.publish("chat:room", [2, 3]).await;
    stage.faults.history_read.notified().await;
    *stage.faults.epoch.lock() = Some(midplane::protocol::Epoch::new("another"));
    stage.backplane.announce(Gap { scope: Scope::Namespace("chat".into()), cause: GapCause::EpochChanged }).await;
    let told = |line: &String| line.starts_with("midplane_gaps_total{cause=\"epoch_changed\"");
    eventually("the change is heard of", async || stage.gaps().iter().any(told).then_some(())).await;
    stage.faults.history_held.send_replace(false);
    is_told_of_a_loss(&ear, "chat:room").await;
    let position = stage.join(&Ear::new(), "chat:room", None).await.position.expect("a position");
    assert_eq!(position.epoch.as_str(), "another");
}

#[tokio::test]
async fn the_first_publication_of_an_empty_channel_is_no_gap_however_busy_others_are() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
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
    let _listening = stage.listen(&ear, "chat:room").await;
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
async fn healing_waits_while_history_is_away_and_for_replicas_that_lag() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.history_down.store(true, Ordering::SeqCst);
    stage.faults.judge(|message| if number(message) == 2 { Fate::Drop } else { Fate::Pass });
    stage.publish("chat:room", [2, 3, 4]).await;
    stage.faults.history_lag.store(3, Ordering::SeqCst);
    stage.faults.history_down.store(false, Ordering::SeqCst);
    hears(&ear, [1, 2, 3, 4]).await;
}
