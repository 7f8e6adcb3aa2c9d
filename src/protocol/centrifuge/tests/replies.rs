use super::super::codes::{ClientError, Disconnect, DisconnectCode, ErrorCode, UnsubscribeCode};
use super::super::*;
use super::{golden, info, news, publication};
use crate::protocol::Channel;

const GOLDEN: &str = include_str!("../../../../tests/golden/centrifuge/replies.json");

#[test]
fn replies_are_byte_for_byte_what_the_schema_says() {
    let mut messages = vec![
        ("ping", Reply::PING),
        ("error", Reply::error(9, ErrorCode::PermissionDenied)),
        ("error_temporary", Reply::error(u32::MAX, ErrorCode::Internal)),
        ("error_custom", Reply::error(1, ClientError::custom(1000, "kein \"Guthaben\" für dich", true).unwrap())),
    ];
    messages.extend(results().map(|(name, id, result)| (name, Reply { id, result })));
    messages.extend(pushes().map(|(name, push)| (name, push.into())));
    golden::check(GOLDEN, messages);
}

fn results() -> impl Iterator<Item = (&'static str, u32, ReplyResult)> {
    let presence =
        [("c1".to_owned(), info()), ("c2".to_owned(), ClientInfo { client: "c2".into(), ..Default::default() })];
    let item = Publication { key: "k".into(), data: "1".into(), ..Default::default() };
    [
        ("connect_bare", 1, ReplyResult::Connect(ConnectResult::default())),
        ("connect", 1, ReplyResult::Connect(connected())),
        ("subscribe", 2, ReplyResult::Subscribe(recovered())),
        (
            "subscribe_fresh",
            2,
            ReplyResult::Subscribe(SubscribeResult {
                recoverable: true,
                epoch: "k3x".into(),
                offset: u64::MAX,
                positioned: true,
                ..Default::default()
            }),
        ),
        ("subscribe_plain", 2, ReplyResult::Subscribe(SubscribeResult::default())),
        ("subscribe_other_kinds", 2, ReplyResult::Subscribe(of_another_kind())),
        ("unsubscribe", 3, ReplyResult::Unsubscribe(UnsubscribeResult {})),
        ("publish", 4, ReplyResult::Publish(PublishResult {})),
        ("presence", 5, ReplyResult::Presence(PresenceResult { presence: presence.into() })),
        ("presence_empty", 5, ReplyResult::Presence(PresenceResult::default())),
        ("presence_stats", 6, ReplyResult::PresenceStats(PresenceStatsResult { num_clients: 2, num_users: 1 })),
        ("presence_stats_zero", 6, ReplyResult::PresenceStats(PresenceStatsResult::default())),
        (
            "history",
            7,
            ReplyResult::History(HistoryResult { publications: vec![publication()], epoch: "k3x".into(), offset: 90 }),
        ),
        ("history_empty", 7, ReplyResult::History(HistoryResult::default())),
        ("ping_result", 8, ReplyResult::Ping(PingResult {})),
        ("rpc", 10, ReplyResult::Rpc(RpcResult { data: r#"{"answer":42}"#.into() })),
        ("rpc_empty", 10, ReplyResult::Rpc(RpcResult::default())),
        (
            "refresh",
            11,
            ReplyResult::Refresh(RefreshResult { client: "0f7e".into(), version: "v".into(), expires: true, ttl: 1 }),
        ),
        ("sub_refresh", 12, ReplyResult::SubRefresh(SubRefreshResult { expires: true, ttl: 600, items: vec![item] })),
    ]
    .into_iter()
}

fn connected() -> ConnectResult {
    ConnectResult {
        client: "0f7e".into(),
        version: "midplane 1.0".into(),
        expires: true,
        ttl: 600,
        data: r#"{"a":[1,2.50,"x\n"]}"#.into(),
        subs: vec![
            ServerSubscription { channel: "#42".into(), result: SubscribeResult::default() },
            ServerSubscription { channel: "news".into(), result: recovered() },
        ],
        ping: 25,
        pong: true,
        session: "s".into(),
        node: "n".into(),
        time: 1_700_000_000_000,
        flag: 1,
    }
}

fn recovered() -> SubscribeResult {
    SubscribeResult {
        expires: true,
        ttl: 600,
        recoverable: true,
        epoch: "k3x".into(),
        publications: vec![
            Publication { data: r#"{"n":1}"#.into(), offset: 44, ..Default::default() },
            Publication { data: r#""two""#.into(), offset: 9_007_199_254_740_993, ..Default::default() },
        ],
        recovered: true,
        offset: 40,
        positioned: true,
        data: "null".into(),
        was_recovering: true,
        delta: true,
        ..Default::default()
    }
}

fn of_another_kind() -> SubscribeResult {
    SubscribeResult {
        id: 7,
        r#type: 1,
        phase: 2,
        cursor: "z".into(),
        state: vec![Publication { key: "k".into(), removed: true, score: -3, version: 9, ..Default::default() }],
        publish_debounce: 100,
        ..Default::default()
    }
}

fn pushes() -> impl Iterator<Item = (&'static str, Push)> {
    let channel = news();
    let wildcard = Channel::parse("n:ä", 255).unwrap();
    let bare = Publication { data: "0".into(), ..Default::default() };
    let leaver = ClientInfo { client: "c1".into(), ..Default::default() };
    let subscription =
        SubscribePush { recoverable: true, epoch: "k3x".into(), offset: 7, positioned: true, data: "{}".into() };
    [
        ("push_pub", Push::Publication { channel: channel.clone(), publication: publication() }),
        ("push_pub_bare", Push::Publication { channel: channel.clone(), publication: bare }),
        ("push_pub_all", Push::Publication { channel: wildcard, publication: everything() }),
        ("push_join", Push::Join { channel: channel.clone(), info: info() }),
        ("push_leave", Push::Leave { channel: channel.clone(), info: leaver }),
        ("push_unsubscribe", Push::Unsubscribe { channel: channel.clone(), code: UnsubscribeCode::Insufficient }),
        ("push_subscribe", Push::Subscribe { channel: channel.clone(), subscription }),
        ("push_subscribe_plain", Push::Subscribe { channel, subscription: SubscribePush::default() }),
        ("push_message", Push::Message { data: r#""hi""#.into() }),
        ("push_disconnect", Push::Disconnect(Disconnect::from(DisconnectCode::Shutdown))),
        ("push_refresh", Push::Refresh { expires: true, ttl: 600 }),
    ]
    .into_iter()
}

fn everything() -> Publication {
    Publication {
        data: "\"\"".into(),
        info: Some(ClientInfo::default()),
        offset: 1,
        tags: Default::default(),
        delta: true,
        time: 5,
        channel: "n".into(),
        key: "k".into(),
        removed: true,
        score: -1,
        epoch: "e".into(),
        prev_data: "[]".into(),
        version: 3,
    }
}
