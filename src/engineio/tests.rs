mod heartbeats;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::door::{Ask, Door, Refused};
use super::owner::POLLS;
use super::sessions::Sessions;
use super::words::{Said, Verb, Word};
use super::{Engine, Options};
use crate::backplane::{Answer, Request, RequestError};
use crate::hooks::tests::backend::{NatsBackend, Question};
use crate::hooks::tests::fixtures::telemetry;
use crate::hub::{Connections, Pulse};
use crate::protocol::socketio::Sid;

const OPTIONS: Options = Options {
    ping_interval: Duration::from_secs(25),
    ping_timeout: Duration::from_secs(20),
    upgrade_timeout: Duration::from_secs(10),
    max_payload: 1_000_000,
    bytes_rate: None,
    queue_max_size: 1 << 20,
};

/// An engine whose other nodes answer so, and what they are asked.
fn engine(
    answer: impl Fn(&Question) -> Result<Answer, RequestError> + Send + Sync + 'static,
) -> (Arc<Engine>, Arc<NatsBackend>) {
    let backend = NatsBackend::new(answer);
    let engine = Engine::new(OPTIONS, backend.clone(), Connections::new(), Pulse::new(), telemetry());
    tokio::spawn(Arc::clone(&engine).tell_given_up());
    (engine, backend)
}

#[tokio::test]
async fn a_poll_at_another_node_was_given_up_while_its_client_had_time_to_answer_a_ping() {
    let ping = || Answer { headers: Vec::new(), body: Said::Done("2".into()).encode() };
    let (engine, backend) = engine(move |_| Ok(ping()));
    let way = engine.find(Sid { node: Uuid::new_v4(), session: Uuid::new_v4() }).unwrap();
    assert_eq!(way.poll(|| {}).await.unwrap(), "2");
    let asked = backend.asked.lock().pop().unwrap();
    // The pong may come so late, and the next ping an interval after that.
    assert!(asked.timeout > OPTIONS.ping_timeout + OPTIONS.ping_interval, "{asked:?}");
}

fn door() -> Arc<Door> {
    let (entry, _) = Sessions::new().open();
    Arc::clone(entry.door())
}

#[test]
fn a_session_left_for_a_websocket_that_had_given_up() {
    let door = door();
    assert!(door.claim_as(1, None));
    assert!(door.release(1), "it is here");
    assert!(!door.let_go(1), "and stays");
    assert!(door.claim_as(2, None), "another may try");
    assert!(door.let_go(2));
    assert!(!door.release(2), "whoever gives up now has to end it");
    assert!(door.release(1), "nobody else has");
    assert!(!door.claim_as(3, None));
}

#[tokio::test]
async fn whoever_gives_up_learns_whether_the_session_is_lost() {
    for (answer, is_there) in
        [(Ok(Said::Done("".into())), true), (Ok(Said::Unknown), true), (Ok(Said::Moved), false), (Err(()), false)]
    {
        let said = answer.clone();
        let (engine, backend) = engine(move |question| {
            let released = question.headers.iter().any(|(_, value)| value == "release");
            let said = if released { said.clone() } else { Ok(Said::Done("".into())) };
            let failed = |()| RequestError::Timeout(question.timeout);
            said.map_err(failed).map(|said| Answer { headers: Vec::new(), body: said.encode() })
        });
        let sid = Sid { node: Uuid::new_v4(), session: Uuid::new_v4() };
        let Some(super::Way::Elsewhere(remote)) = engine.find(sid) else { panic!("it is elsewhere") };
        let claim = remote.claim().await.unwrap().unwrap();
        assert_eq!(claim.give_up().await, is_there, "{answer:?}");
        let releases = |question: &&Question| question.headers.iter().any(|(_, value)| value == "release");
        assert_eq!(backend.asked.lock().iter().filter(releases).count(), 1, "it is said once");
    }
}

type Answering = Box<dyn Fn(&Question) -> Result<Answer, RequestError> + Send + Sync>;

#[tokio::test]
async fn each_request_for_a_session_that_was_not_there_was_broken_off_there_as_well() {
    let timeout = |question: &Question| RequestError::Timeout(question.timeout);
    let nobody = |question: &Question| RequestError::NoResponder(question.subject.clone());
    let said = |said: Said| Answer { headers: Vec::new(), body: said.encode() };
    let cases: [(Answering, Refused, usize); 6] = [
        (Box::new(move |question| Err(timeout(question))), Refused::Timeout, 2),
        (Box::new(move |question| Err(nobody(question))), Refused::NoNode, 1),
        (Box::new(move |_| Ok(said(Said::Unknown))), Refused::Unknown, 1),
        (Box::new(move |_| Ok(said(Said::Moved))), Refused::Moved, 1),
        (Box::new(move |_| Ok(said(Said::Closed))), Refused::Closed, 1),
        (Box::new(move |_| Ok(said(Said::Busy))), Refused::Busy, 1),
    ];
    for (answer, refused, questions) in cases {
        let (engine, backend) = engine(answer);
        let way = engine.find(Sid { node: Uuid::new_v4(), session: Uuid::new_v4() }).unwrap();
        assert_eq!(way.poll(|| {}).await, Err(refused));
        // Whatever was begun by then runs before this one does again.
        tokio::task::yield_now().await;
        assert_eq!(backend.asked.lock().len(), questions, "{refused:?}");
    }
}

/// What another node asks of a session, and what it is answered.
async fn asks(ask: &mpsc::Sender<Request>, session: Uuid, verb: Verb, number: u64) -> oneshot::Receiver<Bytes> {
    let (reply, answered) = oneshot::channel();
    let headers = Word { session, verb, number }.headers().map(|(name, value)| (name.to_owned(), value)).into();
    let request = Request { subject: String::new(), headers, body: Bytes::new(), room: 1 << 20, reply };
    ask.send(request).await.unwrap();
    answered
}

#[tokio::test]
async fn requests_of_other_nodes_that_waited_kept_all_others_of_theirs_waiting() {
    let (engine, _) = engine(|question| Err(RequestError::NoResponder(question.subject.clone())));
    let (ask, asked) = mpsc::channel(8);
    tokio::spawn(Arc::clone(&engine).answer(asked));
    let _most = engine.held.polls.try_acquire_many(u32::try_from(POLLS - 1).unwrap()).unwrap();
    let [(first, mut mailbox), (second, _unread)] = [engine.sessions.open(), engine.sessions.open()];
    let [session, other] = [first.sid().session, second.sid().session];
    let said = async |answer: oneshot::Receiver<Bytes>| Said::decode(answer.await.unwrap()).unwrap();

    let last = asks(&ask, session, Verb::Poll, 1).await;
    let Some(Ask::Poll(answer)) = mailbox.recv().await else { panic!("it waits") };
    assert_eq!(said(asks(&ask, other, Verb::Poll, 2).await).await, Said::Busy);
    assert!(engine.telemetry.render().contains("midplane_queue_overflows_total{queue=\"polls\"} 1"));

    assert_eq!(said(asks(&ask, session, Verb::Check, 1).await).await, Said::Done(Bytes::new()));
    let posted = asks(&ask, session, Verb::Post, 0).await;
    let Some(Ask::Post(_, taken)) = mailbox.recv().await else { panic!("packets reach it") };
    taken.send(()).unwrap();
    assert_eq!(said(posted).await, Said::Done(Bytes::new()));

    answer.send("4a".into()).unwrap();
    assert_eq!(said(last).await, Said::Done("4a".into()));
    asks(&ask, session, Verb::Poll, 3).await;
    assert!(matches!(mailbox.recv().await, Some(Ask::Poll(_))), "there is room for another");
}

#[tokio::test(start_paused = true)]
async fn each_request_that_was_broken_off_began_a_task_that_waited_for_a_node_which_hung() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (engine, _) = engine(move |question| {
        count.fetch_add(1, Ordering::Relaxed);
        Err(RequestError::Timeout(question.timeout))
    });
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let sid = Sid { node: Uuid::new_v4(), session: Uuid::new_v4() };
    for number in 0..20_000 {
        engine.give_up(sid, Verb::BreakOff, number);
    }
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
    let metrics = engine.telemetry.render();
    assert!(metrics.contains("midplane_queue_overflows_total{queue=\"given_up\"} 3616"), "{metrics}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 16 * 1024, "all that waited is told");
}
