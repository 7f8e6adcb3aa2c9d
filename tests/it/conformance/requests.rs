//! Questions reach whoever serves them, once, and answers come back.

use std::time::Duration;

use bytes::Bytes;
use midplane::backplane::{RequestError, Requests};

use crate::support::member::Member;

const LONG: Duration = Duration::from_secs(10);

pub async fn suite(node: &Member) {
    what_a_node_tells_it_hears_itself(node).await;
    who_hears_a_pattern_hears_all_its_topics_and_no_other(node).await;
    let Some(requests) = node.backplane.requests() else { return };
    an_answer_comes_back(requests).await;
    nobody_serving_is_said_at_once(requests).await;
    a_dropped_reply_is_a_timeout(requests).await;
}

async fn what_a_node_tells_it_hears_itself(node: &Member) {
    let mut heard = node.backplane.broadcast().hear("test.a").await.unwrap();
    for n in 0..100 {
        node.backplane.broadcast().tell("test.a", Bytes::from(n.to_string())).await.unwrap();
    }
    for n in 0..100 {
        let told = tokio::time::timeout(LONG, heard.recv()).await.expect("in time").unwrap();
        assert_eq!(told, n.to_string());
    }
}

async fn who_hears_a_pattern_hears_all_its_topics_and_no_other(node: &Member) {
    let broadcast = node.backplane.broadcast();
    let mut heard = broadcast.hear("beat.*").await.unwrap();
    for topic in ["beat.a~1", "beatx.a", "beat", "beat.b-2_", "beat.b.c", "beat.end"] {
        broadcast.tell(topic, Bytes::from(topic)).await.unwrap();
    }
    for expected in ["beat.a~1", "beat.b-2_", "beat.end"] {
        let told = tokio::time::timeout(LONG, heard.recv()).await.expect("in time").unwrap();
        assert_eq!(told, expected);
    }
}

async fn an_answer_comes_back(requests: &dyn Requests) {
    let mut served = requests.serve("test.*", 256).await.unwrap();
    let asking = requests.request("test.echo", &[("User", "ada"), ("Bad\nName", "x")], Bytes::from("ping"), LONG);
    let serving = async {
        let request = served.recv().await.unwrap();
        assert_eq!(request.subject, "test.echo");
        assert!(request.headers.contains(&("User".to_owned(), "ada".to_owned())));
        request.reply.send([b"re: ", &*request.body].concat().into()).unwrap();
    };
    let (answer, ()) = tokio::join!(asking, serving);
    assert_eq!(answer.unwrap().body, "re: ping");
}

async fn nobody_serving_is_said_at_once(requests: &dyn Requests) {
    let asked = tokio::time::Instant::now();
    let answer = requests.request("nobody.home", &[], Bytes::new(), LONG).await;
    assert!(matches!(answer, Err(RequestError::NoResponder(_))), "{answer:?}");
    assert!(asked.elapsed() < LONG);
}

async fn a_dropped_reply_is_a_timeout(requests: &dyn Requests) {
    let mut served = requests.serve("test2.*", 256).await.unwrap();
    let asking = requests.request("test2.drop", &[], Bytes::new(), Duration::from_millis(300));
    let (answer, _) = tokio::join!(asking, async { drop(served.recv().await.unwrap()) });
    assert!(matches!(answer, Err(RequestError::Timeout(_))), "{answer:?}");
}
