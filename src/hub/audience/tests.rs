use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::hub::outbox::tests::{Narrow, outbox};
use crate::hub::{Content, Flushed, Shape, SlowReader};
use crate::protocol::centrifuge::{Encoding, Filter, FilterNode};
use crate::protocol::fossil;

/// One client, and the channel that it listens to.
struct Stage {
    audience: Audience,
    wire: Narrow,
    outbox: Arc<Outbox>,
    slot: Slot,
    /// How many were published.
    count: u64,
}

impl Stage {
    fn set(manner: Manner) -> Self {
        let mut audience = Audience::default();
        let wire = Narrow::new(usize::MAX, usize::MAX);
        let (outbox, _) = outbox(400, &wire);
        let listener = Listener { outbox: Arc::clone(&outbox), positioned: false, floor: Offset::NONE, manner };
        let slot = audience.enter(listener);
        Self { audience, wire, outbox, slot, count: 0 }
    }

    fn publish(&mut self, data: &str) -> Reach {
        self.publish_tagged(data, &[])
    }

    fn publish_tagged(&mut self, data: &str, tags: &[(String, String)]) -> Reach {
        self.count += 1;
        let data = Bytes::from(data.to_owned());
        let frames = frames(&data, tags, self.audience.base());
        let reach = self.audience.deliver(&frames, Offset(self.count), &mut Vec::new());
        self.outbox.flush();
        reach
    }

    /// What came over the wire since the last call.
    fn got(&self) -> Vec<String> {
        let text = String::from_utf8(self.wire.take()).unwrap();
        text.split_terminator('|').map(str::to_owned).collect()
    }
}

/// Frames that say what shape they are.
fn frames<'a>(data: &'a Bytes, tags: &'a [(String, String)], base: Option<&Base>) -> Frames<'a> {
    let content = Content { data: Some(data), tags };
    let frames = Frames::new(content, move |_, shape| {
        let (shape, data) = match shape {
            Shape::Plain => ("plain", data),
            Shape::Whole => ("whole", data),
            Shape::Patch(patch) => ("patch", patch),
        };
        Some([shape.as_bytes(), b" ", data, b"|"].concat().into())
    });
    frames.against(base)
}

fn text(n: u64) -> String {
    format!("{{\"the same every time\":\"and rather long\",\"n\":{n}}}")
}

#[test]
fn a_listener_gets_patches_against_what_it_has_and_nothing_else() {
    let patches = Manner { patches: true, ..Manner::default() };
    let mut stage = Stage::set(patches.clone());
    for n in 1..=3 {
        stage.publish(&text(n));
    }
    let got = stage.got();
    assert_eq!(got[0], format!("whole {}", text(1)));
    let patch = got[1].strip_prefix("patch ").unwrap();
    assert_eq!(fossil::apply(text(1).as_bytes(), patch.as_bytes(), 1000).unwrap(), text(2).as_bytes());
    assert!(got[2].starts_with("patch "));

    // One that comes later, whole first; one that recovered what was last; one that recovered something older.
    let mut others = Vec::new();
    for (has, first) in [(None, "whole"), (Some(3), "patch"), (Some(2), "whole")] {
        let wire = Narrow::new(usize::MAX, usize::MAX);
        let (outbox, _) = outbox(400, &wire);
        let has = has.map(|n| Base { mark: Mark::stored(Offset(n)), data: text(n).into() });
        let manner = Manner { has, ..patches.clone() };
        stage.audience.enter(Listener { outbox: Arc::clone(&outbox), positioned: false, floor: Offset(3), manner });
        others.push((outbox, wire, first));
    }
    stage.publish(&text(4));
    assert!(stage.got()[0].starts_with("patch "));
    for (outbox, wire, first) in others {
        outbox.flush();
        assert!(wire.take().starts_with(first.as_bytes()), "{first}");
    }
}

#[test]
fn who_recovered_further_than_its_node_came_gets_patches_from_there() {
    let mut stage = Stage::set(Manner { patches: true, ..Manner::default() });
    stage.publish(&text(1));
    let wire = Narrow::new(usize::MAX, usize::MAX);
    let (ahead, _) = outbox(400, &wire);
    let has = Some(Base { mark: Mark::stored(Offset(3)), data: text(3).into() });
    let manner = Manner { patches: true, has, ..Manner::default() };
    stage.audience.enter(Listener { outbox: Arc::clone(&ahead), positioned: false, floor: Offset(3), manner });
    for n in 2..=4 {
        stage.publish(&text(n));
    }
    let shapes: Vec<_> = stage.got().iter().map(|frame| frame[..5].to_owned()).collect();
    assert_eq!(shapes, ["whole", "whole", "patch", "patch"]);
    ahead.flush();
    let got = String::from_utf8(wire.take()).unwrap();
    let patch = got.strip_prefix("patch ").and_then(|patch| patch.strip_suffix('|')).expect("one patch");
    assert_eq!(fossil::apply(text(3).as_bytes(), patch.as_bytes(), 1000).unwrap(), text(4).as_bytes());
}

#[test]
fn what_does_not_pass_a_filter_is_not_delivered_and_breaks_the_chain_of_patches() {
    let node = FilterNode { key: "lang".into(), cmp: "eq".into(), val: "de".into(), ..FilterNode::default() };
    let filter = Some(Arc::new(Filter::of(&node).unwrap()));
    let mut stage = Stage::set(Manner { patches: true, filter, ..Manner::default() });
    let tags = [("lang".to_owned(), "de".to_owned())];
    stage.publish_tagged(&text(1), &tags);
    stage.publish(&text(2));
    stage.publish_tagged(&text(3), &tags);
    stage.publish_tagged(&text(4), &tags);
    let got = stage.got();
    assert_eq!(&got[..2], [format!("whole {}", text(1)), format!("whole {}", text(3))]);
    assert!(got[2].starts_with("patch "));
}

#[test]
fn only_the_newest_waits_for_a_conflated_reader_and_comes_whole() {
    let mut stage = Stage::set(Manner { patches: true, slow: SlowReader::Conflate, ..Manner::default() });
    stage.publish(&text(1));
    stage.wire.make_room(0);
    stage.publish(&text(2));
    let reach: Reach = (3..=9).fold(Reach::default(), |mut reach, n| {
        reach += stage.publish(&text(n));
        reach
    });
    assert_eq!(reach.conflated, 7);
    stage.wire.make_room(usize::MAX);
    assert_eq!(stage.outbox.flush_writable(), Flushed::Empty);
    stage.publish(&text(10));
    stage.publish(&text(11));
    let got = stage.got();
    let shapes: Vec<_> = got.iter().map(|frame| &frame[..5]).collect();
    assert_eq!(shapes, ["whole", "patch", "whole", "whole", "patch"]);
    assert_eq!(got[2], format!("whole {}", text(9)), "the newest");
}

#[test]
fn nothing_that_waits_alone_comes_after_its_listener_has_left() {
    let mut stage = Stage::set(Manner { slow: SlowReader::Conflate, ..Manner::default() });
    stage.wire.make_room(0);
    for n in 1..=3 {
        stage.publish(&text(n));
    }
    stage.audience.leave(stage.slot);
    stage.wire.make_room(usize::MAX);
    stage.outbox.flush_writable();
    assert_eq!(stage.got(), [format!("plain {}", text(1))]);
    assert_eq!(stage.outbox.flush(), Flushed::Empty);
}

#[test]
fn a_parked_reader_gets_nothing_until_it_has_caught_up() {
    let mut stage = Stage::set(Manner { slow: SlowReader::Recover, ..Manner::default() });
    stage.wire.make_room(0);
    let parked: usize = (1..=9).map(|n| stage.publish(&text(n)).parked).sum();
    assert_eq!(parked, 1);
    assert!(!stage.outbox.is_closing());
    let since = stage.audience.parked(stage.slot).expect("parked").0;
    assert!((1..9).contains(&since));
    stage.wire.make_room(usize::MAX);
    assert_eq!(stage.outbox.flush_writable(), Flushed::Empty);
    assert_eq!(stage.outbox.take_requests().0, [Control::Drained]);
    stage.publish(&text(10));
    let mut caught = since;
    while caught < 10 {
        let data = Bytes::from(text(caught + 1));
        let frames = frames(&data, &[], None);
        let (taken, _) = stage.audience.catch_up(stage.slot, &frames, Offset(caught + 1));
        if taken {
            caught += 1;
        } else {
            stage.outbox.flush();
            assert_eq!(stage.outbox.take_requests().0, [Control::Drained], "refused again, and told again");
        }
    }
    stage.audience.unpark(stage.slot);
    stage.publish(&text(11));
    assert_eq!(stage.got(), (1..=11).map(|n| format!("plain {}", text(n))).collect::<Vec<_>>());
}

#[test]
fn a_channel_that_begins_anew_is_delivered_from_its_beginning() {
    let mut stage = Stage::set(Manner::default());
    let format = Format::from(Encoding::Json);
    let listener = Outbox::new(format, 400, Arc::default());
    let manner = Manner::default();
    stage.audience.enter(Listener { outbox: Arc::clone(&listener), positioned: false, floor: Offset(1000), manner });
    stage.audience.begin_anew();
    let data = Bytes::from_static(b"1");
    let reach = stage.audience.deliver(&frames(&data, &[], None), Offset(1), &mut Vec::new());
    assert_eq!(reach.sent[format.index()].messages, 2);
}

#[test]
fn a_message_is_encoded_once_for_all_who_have_it_compressed_and_not_at_all_for_nobody() {
    let deflate = Deflate { level: 3, min_size: 100 };
    let json = Format::from(Encoding::Json);
    let formats = [json, json.deflated(Some(deflate)), json.deflated(Some(deflate))];
    let mut audience = Audience::default();
    let enter = |audience: &mut Audience, format| {
        let outbox = Outbox::new(format, 400, Arc::default());
        audience.enter(Listener { outbox, positioned: false, floor: Offset::NONE, manner: Manner::default() })
    };
    let slots = formats.map(|format| enter(&mut audience, format));
    let made = Mutex::new(Vec::new());
    let publish = |audience: &mut Audience| {
        let frames = Frames::new(Content::default(), |format, _| {
            made.lock().unwrap().push(format);
            Some(Bytes::from_static(b"frame"))
        });
        frames.prepare(audience.formats(), false);
        audience.deliver(&frames, Offset::NONE, &mut Vec::new());
        drop(frames);
        std::mem::take(&mut *made.lock().unwrap())
    };
    assert_eq!(publish(&mut audience), [json, json.deflated(Some(deflate))]);
    slots[1..].iter().for_each(|slot| audience.leave(*slot));
    assert_eq!(publish(&mut audience), [json]);
}
