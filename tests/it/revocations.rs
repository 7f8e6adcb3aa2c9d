//! Tokens that are revoked: on every node, at once, also of those who are connected, and for whoever comes later.

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use url::Url;

use crate::support::eventually;
use crate::support::liar::Liar;
use crate::support::nats_server::NatsServer;
use crate::support::node::{Node, Socket};
use crate::support::token::{at, signed};

const SECRET: &str = "a secret of thirty-two bytes, or more";

fn settings(server: Option<&NatsServer>) -> String {
    settings_at(server.map(NatsServer::url))
}

fn settings_at(server: Option<Url>) -> String {
    let nats = server.map_or_else(String::new, |server| format!("[nats]\nservers = [\"{server}\"]\n"));
    format!("{nats}[http_api]\ninsecure = true\n[client.token]\nhmac_secret_key = \"{SECRET}\"\n")
}

fn token(claims: &Value) -> String {
    signed(SECRET, claims)
}

/// A client with a token of these claims.
async fn client(node: &Node, claims: Value) -> Socket {
    let mut socket = node.socket().await;
    let connected = socket.ask(json!({"id": 1, "connect": {"token": token(&claims)}})).await;
    assert!(connected["connect"]["client"].is_string(), "{connected}");
    socket
}

/// Whoever comes with such a token is sent away for good.
async fn is_turned_away(node: &Node, claims: Value) {
    let mut socket = node.socket().await;
    socket.say(json!({"id": 1, "connect": {"token": token(&claims)}})).await;
    assert_eq!(socket.closed().await, (3500, "invalid token".to_owned()), "{claims}");
}

async fn call(node: &Node, method: &str, body: Value) -> Value {
    let url = format!("http://{}/api/{method}", node.address);
    let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// Calls, and it is done.
async fn done(node: &Node, method: &str, body: Value) {
    assert_eq!(call(node, method, body).await, json!({"result": {}}), "{method}");
}

/// A client that subscribed to a channel of its own by a token.
async fn subscriber(node: &Node, claims: Value) -> Socket {
    let mut ann = client(node, json!({"sub": "ann", "iat": at(0)})).await;
    let subscribe = json!({"id": 2, "subscribe": {"channel": "$news", "token": token(&claims)}});
    let subscribed = ann.ask(subscribe).await;
    assert!(subscribed["subscribe"].is_object(), "{subscribed}");
    ann
}

/// What the bucket's leader is asked from here on.
struct Questions {
    client: async_nats::Client,
    asked: async_nats::Subscriber,
}

async fn questions(server: &NatsServer) -> Questions {
    let client = async_nats::connect(server.url().as_str()).await.unwrap();
    let asked = client.subscribe("$JS.API.STREAM.MSG.GET.KV_midplane_revocations").await.unwrap();
    client.request("nobody.serves.this", "".into()).await.expect_err("the subscription was read before this");
    Questions { client, asked }
}

/// How often everything was listed: that begins with the question where it ends.
async fn lists(Questions { client, asked }: &mut Questions) -> usize {
    client.request("nobody.serves.this", "".into()).await.expect_err("what was asked came before this");
    let mut count = 0;
    while let Some(Some(question)) = asked.next().now_or_never() {
        let question: Value = serde_json::from_slice(&question.payload).unwrap();
        count += usize::from(question["last_by_subj"].as_str().is_some_and(|subject| subject.ends_with('>')));
    }
    count
}

#[tokio::test]
async fn a_token_is_revoked_on_all_nodes_within_a_second() {
    let server = NatsServer::start().await;
    let (one, other) = (Node::start(&settings(Some(&server))).await, Node::start(&settings(Some(&server))).await);
    let ann = json!({"sub": "ann", "jti": "first"});
    let mut here = client(&one, ann.clone()).await;
    let mut there = client(&other, ann.clone()).await;
    let mut spared = client(&other, json!({"sub": "ann", "jti": "second"})).await;

    let mut asked = questions(&server).await;
    done(&one, "revoke_token", json!({"uid": "first", "expire_at": at(600)})).await;
    assert_eq!(here.closed().await.0, 3500);
    assert_eq!(there.closed().await.0, 3500);
    assert_eq!(lists(&mut asked).await, 0, "the change itself was heard");
    for node in [&one, &other] {
        is_turned_away(node, ann.clone()).await;
    }
    assert!(spared.ask(json!({"id": 5, "ping": {}})).await["ping"].is_object(), "another token of the same user");

    // Who starts later knows it too.
    let late = Node::start(&settings(Some(&server))).await;
    is_turned_away(&late, ann).await;
}

#[tokio::test]
async fn a_client_that_keeps_its_session_busy_is_sent_away_within_a_second_all_the_same() {
    let server = NatsServer::start().await;
    let settings = format!("{}[hooks.rpc]\ntimeout = \"20s\"\n", settings(Some(&server)));
    let (one, other) = (Node::start(&settings).await, Node::start(&settings).await);
    // A service that takes longer than anybody waits for it.
    let service = async_nats::connect(server.url().as_str()).await.unwrap();
    let mut asked = service.subscribe("midplane.rpc.work").await.unwrap();
    service.request("nobody.serves.this", "".into()).await.expect_err("the subscription was read before this");
    let calls =
        (2..22).map(|id| json!({"id": id, "rpc": {"method": "work"}}).to_string()).collect::<Vec<_>>().join("\n");
    let revocations = [
        ("revoke_token", json!({"uid": "first"}), json!({"sub": "ann", "jti": "first"})),
        ("invalidate_user_tokens", json!({"user": "bob"}), json!({"sub": "bob", "iat": at(-100)})),
    ];
    for (method, body, claims) in revocations {
        let mut busy = client(&one, claims).await;
        busy.say_raw(&calls).await;
        asked.next().await.expect("the first call");
        done(&other, method, body).await;
        // That the service does not answer in time would be said before.
        let (said, (code, _)) = busy.said_until_closed().await;
        assert_eq!((said, code), (vec![], 3500), "{method}");
        assert!(asked.next().now_or_never().is_none(), "none of its other calls was made");
    }
}

#[tokio::test]
async fn a_user_s_older_tokens_are_revoked_on_all_nodes_within_a_second() {
    let server = NatsServer::start().await;
    let (one, other) = (Node::start(&settings(Some(&server))).await, Node::start(&settings(Some(&server))).await);
    let old = |user: &str| json!({"sub": user, "iat": at(-100)});
    let mut here = client(&one, old("ann")).await;
    let mut there = client(&other, json!({"sub": "ann"})).await;
    let mut newer = client(&other, json!({"sub": "ann", "iat": at(-10)})).await;
    let mut bob = client(&other, old("bob")).await;

    let mut asked = questions(&server).await;
    done(&one, "invalidate_user_tokens", json!({"user": "ann", "issued_before": at(-50)})).await;
    assert_eq!(here.closed().await.0, 3500);
    assert_eq!(there.closed().await.0, 3500, "nobody knows when it was issued");
    assert_eq!(lists(&mut asked).await, 0, "the change itself was heard");
    is_turned_away(&other, old("ann")).await;
    for spared in [&mut newer, &mut bob] {
        assert!(spared.ask(json!({"id": 5, "ping": {}})).await["ping"].is_object());
    }
    // An earlier time takes nothing back; without a time it is now.
    done(&other, "invalidate_user_tokens", json!({"user": "ann", "issued_before": at(-500)})).await;
    is_turned_away(&one, old("ann")).await;
    done(&other, "invalidate_user_tokens", json!({"user": "ann"})).await;
    assert_eq!(newer.closed().await.0, 3500);
}

/// What a node answers to somebody with this token who asks for something that any operator may see.
async fn shown(node: &Node, token: &str) -> reqwest::StatusCode {
    let url = format!("http://{}/console/session", node.address);
    reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap().status()
}

#[tokio::test]
async fn operator_tokens_are_revoked_on_all_nodes_and_what_their_bearers_watch_ends() {
    const OPERATORS: &str = "another secret of the tests, for operators";
    let server = NatsServer::start().await;
    let rest = settings(Some(&server)).replace("insecure = true", "key = \"a key of the tests, 32 bytes or more\"");
    let settings = format!("console.token.hmac_secret_key = \"{OPERATORS}\"\n{rest}");
    let (one, other) = (Node::start(&settings).await, Node::start(&settings).await);
    let operator = |claims: Value| {
        let mut all = json!({"operator": "full", "exp": at(600)});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        signed(OPERATORS, &all)
    };
    let revoke = async |method: &str, body: Value, by: &str| {
        let url = format!("http://{}/api/{method}", one.address);
        let answer = reqwest::Client::new().post(url).bearer_auth(by).body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), r#"{"result":{}}"#, "{method}");
    };
    let by_id = operator(json!({"sub": "olga", "jti": "lost"}));
    let by_age = operator(json!({"sub": "oleg", "iat": at(-100)}));
    let spared = operator(json!({"sub": "olga", "jti": "kept", "iat": at(0)}));
    for token in [&by_id, &by_age, &spared] {
        assert_eq!(shown(&other, token).await, 200);
    }
    let url = format!("http://{}/console/watch", other.address);
    let watched = reqwest::Client::new().post(url).bearer_auth(&by_id).body(r#"{"user":"ann"}"#).send().await.unwrap();

    revoke("revoke_token", json!({"uid": "lost"}), &by_age).await;
    revoke("invalidate_user_tokens", json!({"user": "oleg"}), &spared).await;
    for node in [&one, &other] {
        for token in [&by_id, &by_age] {
            eventually("it is refused", async || (shown(node, token).await == 401).then_some(())).await;
        }
        assert_eq!(shown(node, &spared).await, 200);
    }
    let lines = watched.text().await.unwrap();
    assert!(lines.ends_with("{\"end\":\"the operator token is over\"}\n"), "{lines}");
}

#[tokio::test]
async fn subscription_tokens_are_revoked_without_the_connection() {
    let node = Node::start(&settings(None)).await;
    let claims = json!({"sub": "ann", "channel": "$news", "jti": "sub", "iat": at(-100)});
    let mut ann = subscriber(&node, claims.clone()).await;
    done(&node, "revoke_token", json!({"uid": "sub"})).await;
    let pushed = ann.hear().await;
    assert_eq!(pushed["push"]["unsubscribe"]["code"], 2000, "{pushed}");
    let again = json!({"id": 3, "subscribe": {"channel": "$news", "token": token(&claims)}});
    assert_eq!(ann.ask(again).await["error"]["code"], 103);

    let claims = json!({"sub": "ann", "channel": "$news", "iat": at(-100)});
    let mut ann = subscriber(&node, claims.clone()).await;
    done(&node, "invalidate_user_tokens", json!({"user": "ann", "channel": "$other"})).await;
    done(&node, "invalidate_user_tokens", json!({"user": "ann", "channel": "$news"})).await;
    let pushed = ann.hear().await;
    assert_eq!(
        pushed["push"],
        json!({"channel": "$news", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}})
    );
    let newer = json!({"sub": "ann", "channel": "$news", "iat": at(10)});
    let again = json!({"id": 3, "subscribe": {"channel": "$news", "token": token(&newer)}});
    assert!(ann.ask(again).await["subscribe"].is_object());
    // Not by a refresh either.
    ann.say(json!({"id": 4, "sub_refresh": {"channel": "$news", "token": token(&claims)}})).await;
    assert_eq!(ann.closed().await.0, 3500);
}

#[tokio::test]
async fn a_refresh_counts_as_the_token_that_it_brought() {
    let node = Node::start(&settings(None)).await;
    let claims = |id: &str| json!({"sub": "ann", "jti": id, "exp": at(600)});
    let mut ann = client(&node, claims("old")).await;
    let refreshed = ann.ask(json!({"id": 2, "refresh": {"token": token(&claims("new"))}})).await;
    assert!(refreshed["refresh"].is_object(), "{refreshed}");
    done(&node, "revoke_token", json!({"uid": "old"})).await;
    assert!(ann.ask(json!({"id": 3, "ping": {}})).await["ping"].is_object(), "it holds another one now");

    let mut bob = client(&node, claims("bob")).await;
    bob.say(json!({"id": 2, "refresh": {"token": token(&claims("old"))}})).await;
    assert_eq!(bob.closed().await.0, 3500);
    done(&node, "revoke_token", json!({"uid": "new"})).await;
    assert_eq!(ann.closed().await.0, 3500);
}

#[tokio::test]
async fn a_bucket_that_somebody_deleted_does_not_keep_tokens_from_being_revoked() {
    let server = NatsServer::start().await;
    let node = Node::start(&settings(Some(&server))).await;
    let mut ann = client(&node, json!({"sub": "ann", "jti": "first"})).await;
    let operator = async_nats::connect(server.url().as_str()).await.unwrap();
    let deleted = operator.request("$JS.API.STREAM.DELETE.KV_midplane_revocations", "".into()).await.unwrap();
    assert!(std::str::from_utf8(&deleted.payload).unwrap().contains(r#""success":true"#), "{deleted:?}");
    done(&node, "revoke_token", json!({"uid": "first", "expire_at": at(600)})).await;
    assert_eq!(ann.closed().await.0, 3500);
}

#[tokio::test]
async fn a_token_stays_revoked_for_nodes_that_start_after_the_bucket_was_deleted() {
    let server = NatsServer::start().await;
    let (one, other) = (Node::start(&settings(Some(&server))).await, Node::start(&settings(Some(&server))).await);
    let (by_id, by_age) = (json!({"sub": "ann", "jti": "first"}), json!({"sub": "bob", "iat": at(-100)}));
    done(&one, "revoke_token", json!({"uid": "first", "expire_at": at(600)})).await;
    done(&other, "invalidate_user_tokens", json!({"user": "bob", "issued_before": at(-50)})).await;
    for node in [&one, &other] {
        is_turned_away(node, by_id.clone()).await;
        is_turned_away(node, by_age.clone()).await;
    }
    let operator = async_nats::connect(server.url().as_str()).await.unwrap();
    operator.request("$JS.API.STREAM.DELETE.KV_midplane_revocations", "".into()).await.unwrap();
    eventually("both stand again", async || {
        let info = operator.request("$JS.API.STREAM.INFO.KV_midplane_revocations", "".into()).await.ok()?;
        let info: Value = serde_json::from_slice(&info.payload).unwrap();
        (info["state"]["messages"] == 2).then_some(())
    })
    .await;
    let late = Node::start(&settings(Some(&server))).await;
    is_turned_away(&late, by_id).await;
    is_turned_away(&late, by_age).await;
    client(&late, json!({"sub": "bob", "iat": at(-10)})).await;
}

#[tokio::test]
async fn a_token_stays_revoked_for_nodes_that_start_after_a_store_was_rolled_back() {
    let mut server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let knows = Node::start(&settings_at(Some(liar.url()))).await;
    server.stop().await;
    let before = server.snapshot();
    server.restart().await;
    let is_done = async |node: &Node, uid: &str| {
        let answer = call(node, "revoke_token", json!({"uid": uid, "expire_at": at(600)})).await;
        (answer == json!({"result": {}})).then_some(())
    };
    eventually("it is revoked", async || is_done(&knows, "first").await).await;
    server.stop().await;
    liar.cut();
    server.roll_back(&before);
    server.restart().await;
    // What comes next takes the place of what was lost.
    let next = Node::start(&settings(Some(&server))).await;
    eventually("another is revoked", async || is_done(&next, "second").await).await;
    liar.mend();
    let operator = async_nats::connect(server.url().as_str()).await.unwrap();
    eventually("both stand", async || {
        let info = operator.request("$JS.API.STREAM.INFO.KV_midplane_revocations", "".into()).await.ok()?;
        let info: Value = serde_json::from_slice(&info.payload).unwrap();
        (info["state"]["messages"] == 2).then_some(())
    })
    .await;
    let late = Node::start(&settings(Some(&server))).await;
    for node in [&next, &late] {
        is_turned_away(node, json!({"sub": "ann", "jti": "first"})).await;
    }
}

#[tokio::test]
async fn a_revocation_of_which_a_node_was_not_told_is_found_all_the_same() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let one = Node::start(&settings(Some(&server))).await;
    // Its client does not answer pings.
    let other = Node::start(&format!("client.ping_interval = \"2m\"\n{}", settings_at(Some(liar.url())))).await;
    let ann = json!({"sub": "ann", "jti": "first"});
    let mut there = client(&other, ann.clone()).await;
    // What is told, and not the word in the description of the bucket.
    liar.swallow("MSG midplane.registry.revocations.");
    done(&one, "revoke_token", json!({"uid": "first", "expire_at": at(600)})).await;
    assert_eq!(there.closed().await.0, 3500);
    is_turned_away(&other, ann).await;
}

#[tokio::test]
async fn what_was_revoked_while_a_node_was_cut_off_is_known_before_it_lets_clients_in() {
    let server = NatsServer::start().await;
    let liar = Liar::before(server.port()).await;
    let node = Node::start(&settings_at(Some(liar.url()))).await;
    let other = Node::start(&settings(Some(&server))).await;
    let ann = json!({"sub": "ann", "jti": "first"});
    let mut live = client(&node, ann.clone()).await;
    let ready = async || reqwest::get(format!("http://{}/ready", node.address)).await.unwrap().status() == 200;

    liar.cut();
    eventually("the node sees it", async || (!ready().await).then_some(())).await;
    let answer = call(&node, "revoke_token", json!({"uid": "x"})).await;
    assert_eq!(answer["error"]["code"], 100, "{answer}");
    // The change is told to whoever hears it, and never again.
    done(&other, "revoke_token", json!({"uid": "first"})).await;
    is_turned_away(&other, ann.clone()).await;
    assert!(live.ask(json!({"id": 5, "ping": {}})).await["ping"].is_object(), "this node cannot know");

    let mut asked = questions(&server).await;
    liar.mend();
    eventually("the node is back", async || ready().await.then_some(())).await;
    is_turned_away(&node, ann).await;
    assert_eq!(live.closed().await.0, 3500);
    done(&node, "revoke_token", json!({"uid": "second"})).await;
    assert_eq!(lists(&mut asked).await, 1, "once for the whole outage");
}

#[tokio::test]
async fn a_revoked_token_was_good_again_from_its_end_until_the_leeway_was_over() {
    let node = Node::start(&format!("{}leeway = \"10m\"\n", settings(None))).await;
    let end = at(2);
    let ann = json!({"sub": "ann", "jti": "first", "exp": end});
    let bob = json!({"sub": "bob", "iat": at(-60), "exp": end});
    done(&node, "revoke_token", json!({"uid": "first", "expire_at": end})).await;
    done(&node, "invalidate_user_tokens", json!({"user": "bob", "expire_at": end})).await;
    eventually("their time is over", async || (at(0) > end).then_some(())).await;
    client(&node, json!({"sub": "cleo", "exp": end})).await;
    is_turned_away(&node, ann).await;
    is_turned_away(&node, bob).await;
}

#[tokio::test]
async fn calls_that_make_no_sense_are_bad_requests() {
    let node = Node::start(&settings(None)).await;
    for (method, body) in [
        ("revoke_token", json!({})),
        ("revoke_token", json!({"uid": "a", "expire_at": at(-10)})),
        ("revoke_token", json!({"uid": "a", "expire_at": -1})),
        ("invalidate_user_tokens", json!({"issued_before": 7})),
        ("invalidate_user_tokens", json!({"user": "ann", "issued_before": -7})),
    ] {
        let answer = call(&node, method, body.clone()).await;
        assert_eq!(answer["error"]["code"], 107, "{method} {body}");
    }
    let batch = json!({"commands": [{"revoke_token": {"uid": "a"}}, {"invalidate_user_tokens": {"user": "ann"}}]});
    let answer = call(&node, "batch", batch).await;
    let done = json!([{"revoke_token": {}}, {"invalidate_user_tokens": {}}]);
    assert_eq!(answer["replies"], done, "{answer}");
}
