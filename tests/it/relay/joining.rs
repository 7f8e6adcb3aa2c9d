//! Who joins or comes back stands where it is told, and gets what it missed.

use super::*;

#[tokio::test]
async fn nothing_is_published_once_it_is_closed_to_publishers() {
    let stage = Stage::set();
    let ear = Ear::new();
    let _listening = stage.listen(&ear, "chat:room").await;
    stage.publish("chat:room", [1]).await;
    stage.relay.close_to_publishers().await;
    let late = stage.relay.publish(&channel_of("chat:room"), Outgoing::default(), Source::Http).await;
    assert!(matches!(late, Err(PublishError::Unavailable(_))), "{late:?}");
    hears(&ear, [1]).await;
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
