use super::*;
use crate::backplane::{Meta, Top};
use crate::hub::Content;
use crate::settings::Settings;

fn topic() -> Topic {
    let settings =
        Settings::from_toml("[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 10\nhistory_ttl = \"5m\"\n");
    let namespaces = settings.expect("settings of a test").channel.namespaces;
    let channel = Channel::parse("chat:room", 255).expect("a channel");
    Topic::new(channel.clone(), Arc::clone(namespaces.of(&channel).expect("a namespace")), None)
}

/// Where a channel stands that has nothing more.
fn chain(epoch: &str, last: u64) -> Chain {
    let last = Offset(last);
    let top = Top { epoch: Epoch::new(epoch), newest: Some(last), last, through: last };
    Chain::new(&top, 0, Duration::from_secs(300))
}

fn arrive(topic: &Topic, offset: u64, previous: u64) -> Arrival {
    let link = Link { offset: Offset(offset), previous: Offset(previous), stored_at: offset.cast_signed() };
    let message =
        Incoming { channel: topic.channel.clone(), data: "1".into(), meta: Meta::default(), link: Some(link) };
    topic.state.lock().arrive(message, &Frames::new(Content::default(), |_, _| None), &mut Vec::new())
}

#[test]
fn what_waited_when_the_store_began_anew_kept_a_channel_from_ever_being_whole() {
    let topic = topic();
    assert!(!topic.state.lock().open_chained(chain("e", 990), TailBudget::default(), Ward::default()));
    assert_eq!(arrive(&topic, 1000, 999), Arrival::Hole(Some(GapCause::Hole)));
    let begin_anew = |chain| topic.state.lock().go_on_from(&topic, chain, TailBudget::default(), &mut Vec::new()).1;
    assert!(!begin_anew(chain("f", 5)), "nothing of the life before waits any more");
    assert!(matches!(arrive(&topic, 6, 5), Arrival::Delivered(_)));
}

#[test]
fn what_came_before_the_store_was_asked_again_showed_a_hole_in_its_next_life() {
    let topic = topic();
    assert!(matches!(arrive(&topic, 1000, 999), Arrival::Held { .. }));
    topic.state.lock().begin_opening();
    assert!(!topic.state.lock().open_chained(chain("f", 5), TailBudget::default(), Ward::default()));
    assert!(matches!(arrive(&topic, 6, 5), Arrival::Delivered(_)));
}
