use super::super::*;
use super::golden;

const GOLDEN: &str = include_str!("../../../../tests/golden/centrifuge/commands.json");

#[test]
fn commands_mean_the_same_on_both_wires() {
    let mut golden = golden::cases(GOLDEN);
    for (name, id, method) in expected() {
        let case = golden.remove(name).unwrap_or_else(|| panic!("no golden {name}"));
        let expected = [Command { id, method }];
        assert_eq!(decode(Encoding::Json, case.json.as_bytes(), 1).unwrap(), expected, "{name}");
        assert_eq!(decode(Encoding::Protobuf, &case.protobuf, 1).unwrap(), expected, "{name}");
    }
    assert_eq!(golden.keys().collect::<Vec<_>>(), [""; 0], "golden but not checked");
}

fn expected() -> Vec<(&'static str, u32, Method)> {
    let channel = || "news".to_owned();
    let since = |offset, epoch: &str| Some(StreamPosition { offset, epoch: epoch.into() });
    let bare = SubscribeRequest { channel: channel(), ..Default::default() };
    let publish = PublishRequest {
        channel: channel(),
        data: r#"{"text":"ä\n"}"#.into(),
        r#type: 1,
        key: "k".into(),
        removed: true,
    };
    let everything =
        HistoryRequest { channel: channel(), limit: -1, since: since(9_007_199_254_740_993, "k3x"), reverse: true };
    let page = HistoryRequest { channel: channel(), limit: 300, since: since(0, ""), reverse: false };
    let items = vec![KeyedItem { key: "k".into(), version: 2 }];
    let sub_refresh = SubRefreshRequest {
        channel: channel(),
        token: "eyJ".into(),
        r#type: 1,
        track: vec![TrackBatch { signature: "s".into(), items }],
        untrack: vec!["u".into()],
    };
    vec![
        ("pong", 0, Method::Pong),
        ("connect_bare", 1, Method::Connect(Box::default())),
        ("connect", 1, Method::Connect(connect().into())),
        ("subscribe", 2, Method::Subscribe(subscribe().into())),
        ("subscribe_bare", 2, Method::Subscribe(bare.into())),
        ("unsubscribe", 3, Method::Unsubscribe(UnsubscribeRequest { channel: channel() })),
        ("publish", 4, Method::Publish(publish)),
        ("presence", 5, Method::Presence(PresenceRequest { channel: channel() })),
        ("presence_stats", 6, Method::PresenceStats(PresenceStatsRequest { channel: channel() })),
        ("history", 7, Method::History(everything)),
        ("history_since_any", 7, Method::History(page)),
        ("ping", 8, Method::Ping),
        ("send", 0, Method::Send(SendRequest { data: r#"{"typing":true}"#.into() })),
        ("rpc", 10, Method::Rpc(RpcRequest { data: "null".into(), method: "sum".into() })),
        ("refresh", 11, Method::Refresh(RefreshRequest { token: "eyJ".into() })),
        ("sub_refresh", u32::MAX, Method::SubRefresh(sub_refresh)),
    ]
}

fn connect() -> ConnectRequest {
    let position = SubscribeRequest { recover: true, epoch: "k3x".into(), offset: 40, ..Default::default() };
    ConnectRequest {
        token: "eyJ".into(),
        data: r#"{"a":1}"#.into(),
        subs: [("news".to_owned(), position), ("quiet".to_owned(), SubscribeRequest::default())].into(),
        name: "js".into(),
        version: "5.8.0".into(),
        headers: [("authorization".to_owned(), "x".to_owned())].into(),
        flag: 1,
        dict: "d".into(),
        profile: "p".into(),
    }
}

fn subscribe() -> SubscribeRequest {
    let language = FilterNode { key: "lang".into(), cmp: "eq".into(), val: "de".into(), ..Default::default() };
    let rooms =
        FilterNode { key: "room".into(), cmp: "in".into(), vals: vec!["a".into(), "b".into()], ..Default::default() };
    let elsewhere = FilterNode { op: "not".into(), nodes: vec![rooms], ..Default::default() };
    SubscribeRequest {
        channel: "news".into(),
        token: "t".into(),
        recover: true,
        epoch: "k3x".into(),
        offset: u64::MAX,
        data: "[]".into(),
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil".into(),
        tf: Some(FilterNode { op: "and".into(), nodes: vec![language, elsewhere], ..Default::default() }),
        flag: 3,
        r#type: 1,
        phase: 2,
        cursor: "c".into(),
        limit: 10,
        asc: true,
    }
}
