//! What is lost on its way is healed, or told.

use super::*;

#[tokio::test]
async fn dropped_deliveries_are_healed_in_order_and_without_doubles() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
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
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", [2, 3]).await;
    stage.backplane.announce(Gap { scope: Scope::Everything, cause: GapCause::Reconnect }).await;
    hears(&ear, [1, 2, 3]).await;
}

#[tokio::test]
async fn a_nudge_heals_its_channel() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
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
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", [1]).await;
    hears(&ear, [1]).await;
}

#[tokio::test]
async fn more_loss_than_is_stored_is_told_and_not_papered_over() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [0]).await;
    hears(&ear, [0]).await;
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", 1..50).await;
    stage.faults.cease();
    stage.publish("chat:room", [50]).await;
    is_told_of_a_loss(&ear, "chat:room").await;
    stage.publish("chat:room", [51]).await;
    assert_eq!(ear.heard(), [0], "nothing behind the hole reaches a positioned listener");
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_no_longer_is_waited_for_while_it_may_be_on_its_way() {
    let (stage, ear) = (Stage::set(), Ear::new());
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.faults.deliveries_held.send_replace(true);
    stage.publish("chat:room", 0..50).await;
    // The clock of the test goes on only when nobody has anything to do: the channel is compared, read and given up by then.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.gaps(), ["midplane_gaps_total{cause=\"audit\"} 1"]);
    assert!(ear.heard().is_empty() && ear.requests().is_empty());
    stage.faults.deliveries_held.send_replace(false);
    hears(&ear, 0..50).await;
    stage.publish("chat:room", [50]).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(ear.heard(), (0..=50).collect::<Vec<_>>());
    assert!(ear.requests().is_empty(), "nobody is told of a loss");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_in_its_time_is_told_although_nothing_else_comes() {
    let (stage, ear) = (Stage::set(), Ear::new());
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.faults.judge(|_| Fate::Drop);
    stage.publish("chat:room", 0..50).await;
    sleep(Duration::from_secs(5)).await;
    assert!(ear.requests().is_empty(), "it may be on its way");
    sleep(Duration::from_secs(10)).await;
    is_told_of_a_loss(&ear, "chat:room").await;
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_what_was_waited_for_is_told_at_once() {
    let (stage, ear) = (Stage::set(), Ear::new());
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.faults.deliveries_held.send_replace(true);
    stage.publish("chat:room", 0..50).await;
    sleep(Duration::from_secs(5)).await;
    stage.faults.judge(|message| if number(message) == 20 { Fate::Drop } else { Fate::Pass });
    stage.faults.deliveries_held.send_replace(false);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(ear.requests(), [Control::Lost(channel_of("chat:room"))]);
    assert_eq!(ear.heard(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_was_told_while_history_was_away_was_counted_only_once_it_was_back() {
    let (stage, ear) = (Stage::set(), Ear::new());
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.faults.history_down.store(true, Ordering::SeqCst);
    stage.faults.judge(|message| if number(message) == 0 { Fate::Drop } else { Fate::Pass });
    stage.publish("chat:room", [0, 1]).await;
    sleep(Duration::from_mins(2)).await;
    is_told_of_a_loss(&ear, "chat:room").await;
    let counted = ["midplane_gaps_total{cause=\"hole\"} 1", "midplane_gaps_unhealed_total{cause=\"hole\"} 1"];
    assert_eq!(stage.gaps(), counted);
    stage.faults.history_down.store(false, Ordering::SeqCst);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(stage.gaps(), counted, "once");
}

#[tokio::test]
async fn without_history_a_known_loss_is_told_to_positioned_listeners() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "live:room").await;
    stage.publish("live:room", [1]).await;
    hears(&ear, [1]).await;
    stage.backplane.announce(Gap { scope: Scope::Everything, cause: GapCause::Reconnect }).await;
    is_told_of_a_loss(&ear, "live:room").await;
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
    is_told_of_a_loss(&positioned, "chat:room").await;
}

#[tokio::test]
async fn everything_that_was_dropped_arrives_in_order_and_every_hole_is_counted() {
    let stage = Stage::set();
    let ears = [Ear::new(), Ear::new()];
    let _listening = [stage.listen(&ears[0], "chat:room").await, stage.listen(&ears[1], "chat:room").await];
    stage.publish("chat:room", [0]).await;
    hears(&ears[0], [0]).await;
    let mut counted = 0;
    for hole in 0..3 {
        let first = hole * 4 + 1;
        stage.faults.judge(move |message| if number(message) < first + 3 { Fate::Drop } else { Fate::Pass });
        // Three are lost; the fourth shows it.
        stage.publish("chat:room", first..first + 4).await;
        for ear in &ears {
            hears(ear, 0..first + 4).await;
        }
        // By the fourth, or by somebody who happened to look before.
        let gaps = stage.gaps();
        assert!(gaps.iter().all(|line| line.starts_with("midplane_gaps_total")), "each is healed: {gaps:?}");
        let before = counted;
        counted = gaps.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        assert!(counted > before, "and counted: {gaps:?}");
    }
    assert!(ears.iter().all(|ear| ear.requests().is_empty()), "nobody was told of a loss");
}
