use std::io::IoSlice;

use uuid::Uuid;

use super::asked::CONTROLS;
use super::*;
use crate::hub::{Errand, Order};

/// A socket that takes `room` bytes in writes of at most `chunk`.
#[derive(Clone)]
pub struct Narrow(Arc<Mutex<(usize, usize, Vec<u8>)>>);

impl Narrow {
    pub fn new(room: usize, chunk: usize) -> Self {
        Self(Arc::new(Mutex::new((room, chunk, Vec::new()))))
    }
    pub fn make_room(&self, room: usize) {
        self.0.lock().0 = room;
    }
    /// What it got since the last call.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().2)
    }
    fn got(&self) -> Vec<u8> {
        self.0.lock().2.clone()
    }
}

impl Wire for Narrow {
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut inner = self.0.lock();
        if inner.0 == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let all: Vec<u8> = frames.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = all.len().min(inner.0).min(inner.1);
        inner.0 -= taken;
        inner.2.extend(&all[..taken]);
        Ok(taken)
    }
}

pub fn outbox(limit: usize, wire: &Narrow) -> (Arc<Outbox>, Backlog) {
    let backlog = Backlog::default();
    let outbox = Outbox::new(crate::protocol::centrifuge::Encoding::Json, limit, Arc::clone(&backlog));
    outbox.attach(Box::new(wire.clone()));
    (outbox, backlog)
}

#[test]
fn what_may_be_dropped_never_waits_behind_anything() {
    let wire = Narrow::new(4, 4);
    let (outbox, _) = outbox(100, &wire);
    let offer = |frame: &'static str| outbox.offer(Bytes::from(frame), Spill::Drop);
    assert_eq!(offer("ab"), Taken::First);
    assert_eq!(offer("cd"), Taken::Dropped, "one waits");
    outbox.flush();
    assert_eq!(offer("ef"), Taken::First);
    outbox.flush();
    outbox.deliver("kept".into());
    assert_eq!(outbox.flush(), Flushed::Blocked);
    assert_eq!(offer("gh"), Taken::Dropped, "the socket is full");
    wire.make_room(100);
    outbox.flush_writable();
    assert_eq!(wire.got(), b"abefkept");
}

#[test]
fn frames_leave_whole_and_in_order_whatever_the_socket_takes() {
    let wire = Narrow::new(3, 2);
    let (outbox, backlog) = outbox(100, &wire);
    for frame in ["abcd", "ef", "ghi"] {
        assert!(matches!(outbox.deliver(Bytes::from(frame)), Taken::First | Taken::Again));
    }
    assert_eq!(outbox.flush(), Flushed::Blocked);
    assert_eq!(backlog.load(Ordering::Relaxed), 6);
    wire.make_room(100);
    assert_eq!(outbox.flush(), Flushed::Blocked, "only the session tries again");
    assert_eq!(outbox.flush_writable(), Flushed::Empty);
    assert_eq!(wire.got(), b"abcdefghi");
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
}

#[test]
fn deliveries_wait_for_the_reply_that_goes_before_them() {
    let wire = Narrow::new(100, 100);
    let (outbox, _) = outbox(100, &wire);
    let (outer, inner) = (outbox.hold(), outbox.hold());
    outbox.deliver(Bytes::from("push"));
    drop(inner);
    outbox.reply(Bytes::from("reply "));
    drop(outer);
    outbox.flush();
    assert_eq!(wire.got(), b"reply push");
}

#[test]
fn what_waits_for_a_reply_that_never_comes_does_not_go_out_when_the_connection_ends() {
    let wire = Narrow::new(100, 100);
    let (outbox, backlog) = outbox(100, &wire);
    let hold = outbox.hold();
    outbox.deliver(Bytes::from("push"));
    hold.discard();
    outbox.deliver(Bytes::from("another"));
    outbox.reply(Bytes::from("goodbye "));
    outbox.finish(Some(Bytes::from("close")));
    outbox.flush();
    assert_eq!(wire.got(), b"goodbye close");
    outbox.abandon();
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reader_was_taken_for_slow_for_what_was_held_back_from_it() {
    let wire = Narrow::new(100, 100);
    let (outbox, backlog) = outbox(6, &wire);
    let hold = outbox.hold();
    outbox.deliver(Bytes::from("abcd"));
    assert_eq!(outbox.deliver(Bytes::from("efgh")), Taken::Closed);
    assert_eq!(outbox.take_requests().0, [Control::Close(DisconnectCode::ForceReconnect.into())]);
    drop(hold);
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
}

#[test]
fn a_slow_reader_is_closed_and_a_half_written_frame_is_finished_first() {
    let wire = Narrow::new(2, 2);
    let (outbox, backlog) = outbox(6, &wire);
    outbox.deliver(Bytes::from("abcd"));
    outbox.flush();
    outbox.deliver(Bytes::from("efgh"));
    assert_eq!(outbox.deliver(Bytes::from("ijkl")), Taken::Overflow);
    assert_eq!(outbox.take_requests().0, [Control::Close(DisconnectCode::Slow.into())]);
    outbox.finish(Some(Bytes::from("close")));
    wire.make_room(100);
    assert_eq!(outbox.flush_writable(), Flushed::Empty);
    assert_eq!(wire.got(), b"abcdclose");
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
}

#[test]
fn a_burst_larger_than_the_limit_does_not_make_a_quick_reader_slow() {
    let wire = Narrow::new(100, 5);
    let (outbox, backlog) = outbox(6, &wire);
    for _ in 0..5 {
        assert!(matches!(outbox.deliver(Bytes::from("abcd")), Taken::First | Taken::Again));
        outbox.reply(Bytes::from("ef"));
    }
    outbox.flush();
    assert_eq!(wire.got(), b"abcdef".repeat(5));
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
}

#[test]
fn one_frame_larger_than_the_limit_still_goes_when_nothing_waits() {
    let wire = Narrow::new(100, 100);
    let (outbox, _) = outbox(2, &wire);
    assert_eq!(outbox.deliver(Bytes::from("large")), Taken::First);
}

#[test]
fn of_whom_more_is_asked_than_can_wait_the_connection_ends_and_nothing_more_is_kept() {
    let (outbox, _) = outbox(100, &Narrow::new(0, 1));
    let order = || Control::Obey(Arc::new(Order::Client(Uuid::nil(), Errand::Unsubscribe(None))));
    for _ in 0..CONTROLS {
        outbox.request(order());
    }
    assert!(!outbox.is_closing());
    for _ in 0..10 {
        outbox.request(order());
    }
    assert!(outbox.is_closing());
    let (controls, _) = outbox.take_requests();
    assert_eq!((controls.len(), controls.last()), (CONTROLS + 1, Some(&Control::Overrun)));
}

#[test]
fn to_look_at_tokens_again_is_asked_once_however_many_are_revoked() {
    let (outbox, _) = outbox(100, &Narrow::new(0, 1));
    let recheck = || Control::Obey(Arc::new(Order::Recheck));
    for _ in 0..2 * CONTROLS {
        outbox.request(recheck());
    }
    assert_eq!(outbox.take_requests().0, [recheck()]);
    outbox.request(recheck());
    assert_eq!(outbox.take_requests().0, [recheck()], "what is revoked after that is looked at anew");
}

#[test]
fn an_end_for_good_is_not_forgotten_for_all_else_that_is_asked() {
    let (outbox, _) = outbox(100, &Narrow::new(0, 1));
    for _ in 0..2 * CONTROLS {
        outbox.request(Control::Obey(Arc::new(Order::Client(Uuid::nil(), Errand::Unsubscribe(None)))));
    }
    let end = Control::Close(DisconnectCode::ForceNoReconnect.into());
    outbox.request(end.clone());
    outbox.request(Control::Close(DisconnectCode::Slow.into()));
    let (controls, _) = outbox.take_requests();
    assert_eq!((controls.len(), controls.first()), (CONTROLS + 2, Some(&end)));
}

#[test]
fn what_waits_can_be_taken_elsewhere_once_and_whole() {
    let wire = Narrow::new(0, 1);
    let (outbox, backlog) = outbox(100, &wire);
    outbox.deliver("one".into());
    let hold = outbox.hold();
    outbox.deliver("three".into());
    outbox.reply("two".into());
    assert_eq!(outbox.waiting(), 3);
    outbox.request(Control::Lost(crate::protocol::Channel::parse("a", 10).unwrap()));
    assert_eq!(outbox.take_waiting().unwrap(), ["one", "two", "three"]);
    assert_eq!((outbox.deliver("late".into()), outbox.take_waiting()), (Taken::Closed, None));
    assert_eq!(outbox.take_requests().0.len(), 1, "what was asked of the session is asked still");
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
    drop(hold);
}

#[test]
fn what_came_on_both_ways_is_said_once() {
    let wire = Narrow::new(100, 100);
    let (outbox, backlog) = outbox(100, &wire);
    let hold = outbox.hold();
    for frame in ["both ", "here ", "both ", "both "] {
        outbox.deliver(frame.into());
    }
    outbox.reply("both both there ".into());
    outbox.forget_held(&["both ", "both ", "there "].map(Bytes::from));
    drop(hold);
    outbox.flush();
    assert_eq!(wire.got(), b"both both there here both ");
    assert_eq!(backlog.load(Ordering::Relaxed), 0);
}
