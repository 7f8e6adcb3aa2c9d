use super::*;

const WITHIN: Duration = Duration::from_secs(5);

fn ids<const N: usize>() -> [Uuid; N] {
    std::array::from_fn(|_| Uuid::new_v4())
}

#[tokio::test(start_paused = true)]
async fn each_answers_once_and_in_time() {
    let acks = Acks::default();
    let [ada, bob, eve] = ids();
    let id = acks.owe(7, "node-1", [ada, bob].into(), WITHIN).unwrap();
    assert_eq!(acks.settle(id, eve), None, "nobody asked it");
    assert_eq!(acks.settle(id + 1, ada), None);
    assert_eq!(acks.settle(id, ada), Some((7, "node-1".to_owned())));
    assert_eq!(acks.settle(id, ada), None, "only the first answer counts");
    tokio::time::advance(WITHIN).await;
    assert_eq!(acks.settle(id, bob), None, "late");
    acks.sweep();
    assert!(acks.owed.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_was_not_asked_after_all_owes_nothing() {
    let acks = Acks::default();
    let [ada, bob] = ids();
    let id = acks.owe(7, "node-1", [ada, bob].into(), WITHIN).unwrap();
    acks.release(id, &[bob]);
    assert_eq!(acks.settle(id, bob), None);
    acks.release(id, &[ada]);
    assert!(acks.owed.lock().is_empty(), "nobody owes anything any more");
}

fn passed(call: u64) -> Passed {
    holding(call, Vec::new())
}

fn holding(call: u64, attachments: Vec<String>) -> Passed {
    let args = RawValue::from_string("[]".to_owned()).unwrap();
    Passed { call, acked: Acked { socket: Uuid::new_v4(), user: String::new(), args, attachments } }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_takes_what_is_acknowledged_while_it_asks() {
    let acks = Arc::new(Acks::default());
    let mut awaiting = acks.wait().unwrap();
    let call = awaiting.call();
    // Nodes answer while others are still being asked, and their clients are quicker than those.
    let asking = async {
        for _ in 0..3 * WAITING {
            assert_eq!(acks.give(passed(call)), Given::Told);
            tokio::task::yield_now().await;
        }
        3 * WAITING + 1
    };
    let asked = awaiting.during(asking).await;
    assert_eq!(acks.give(passed(call)), Given::Told);
    let (all, complete) = awaiting.collect(asked, Instant::now() + WITHIN).await;
    assert_eq!((all.len(), complete), (asked, true));
    assert_eq!(acks.give(passed(call)), Given::Late, "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn where_one_finds_no_room_the_others_are_told_and_that_they_are_not_all() {
    let acks = Arc::new(Acks::default());
    let awaiting = acks.wait().unwrap();
    let call = awaiting.call();
    for _ in 0..WAITING {
        assert_eq!(acks.give(passed(call)), Given::Told);
    }
    assert_eq!(acks.give(passed(call)), Given::NoRoom);
    let began = Instant::now();
    let (all, complete) = awaiting.collect(WAITING + 1, began + WITHIN).await;
    assert_eq!((all.len(), complete), (WAITING, false));
    assert_eq!(Instant::now(), began, "the one that is missing is not waited for");
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_that_waited_were_bounded_in_number_and_not_in_bytes() {
    let acks = Arc::new(Acks::default());
    let [mut ada, bob] = [acks.wait().unwrap(), acks.wait().unwrap()];
    let large = |call| holding(call, vec!["x".repeat(ROOM / 4)]);
    for call in [ada.call(), ada.call(), bob.call()] {
        assert_eq!(acks.give(large(call)), Given::Told);
    }
    assert_eq!(acks.give(large(bob.call())), Given::NoRoom, "the room is that of all calls");
    let until = Instant::now() + WITHIN;
    assert!(ada.next(until).await.is_some(), "what is taken makes room");
    assert_eq!(acks.give(large(ada.call())), Given::Told);
    let (all, complete) = bob.collect(2, until).await;
    assert_eq!((all.len(), complete), (1, false));
    drop(ada);
    assert_eq!(acks.room.available_permits(), ROOM, "what nobody waits for takes none");
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_wait_and_no_more_until_their_time_is_over() {
    let acks = Acks::default();
    let [ada] = ids();
    for call in 0..CALLS as u64 {
        acks.owe(call, "node-1", [ada].into(), WITHIN).unwrap();
    }
    assert_eq!(acks.owe(0, "node-1", [ada].into(), WITHIN), Err(TooManyCalls));
    tokio::time::advance(WITHIN).await;
    assert!(acks.owe(0, "node-1", [ada].into(), WITHIN).is_ok());
}
