//! All nodes are asked at once, and all answer, or it is said who does not.

use futures_util::future::join_all;
use midplane::cluster::State::Up;
use midplane::cluster::SurveyError;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Fellow, agree};
use crate::support::nats_server::NatsServer;
use crate::support::nats_settings::nats;

fn times(times: usize) -> Box<RawValue> {
    RawValue::from_string(times.to_string()).unwrap()
}

#[tokio::test]
async fn every_node_answers_in_as_many_parts_as_it_takes() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    agree(&fellows.iter().collect::<Vec<_>>(), &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    let surveys = (0..20).map(|n| async move { n });
    let numbers = join_all(surveys).await;
    let answers = join_all(numbers.iter().map(async |n| fellows[n % 3].cluster.ask("name", &times(n + 1)).await)).await;
    for (n, answers) in numbers.into_iter().zip(answers) {
        let answers = answers.unwrap();
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["ada", "bob", "cy"]);
        for (name, parts) in answers {
            let parts: Vec<_> = parts.iter().map(|part| part.get().to_owned()).collect();
            assert_eq!(parts, vec![format!("\"{name}\""); n + 1]);
        }
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let server = NatsServer::start().await;
    let settings = nats([server.url()], 1);
    let fellows = join_all(["ada", "bob", "cy"].map(|name| Fellow::join(&settings, name))).await;
    agree(&fellows.iter().collect::<Vec<_>>(), &[("ada", Up), ("bob", Up), ("cy", Up)]).await;
    let refused = fellows[0].cluster.ask("riddle", &times(1)).await.unwrap_err();
    assert!(matches!(refused, SurveyError::NotUnderstood(_)), "{refused}");
    fellows[1].die().await;
    let asked = Instant::now();
    match fellows[0].cluster.ask("name", &times(1)).await {
        Err(SurveyError::Silent(nodes)) => assert_eq!(nodes, ["bob"]),
        // It was declared dead meanwhile.
        other => assert!(other.is_ok() && asked.elapsed().as_millis() > 100, "{other:?}"),
    }
}
