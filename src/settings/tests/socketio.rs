//! Socket.IO.

use std::time::Duration;

use super::super::Settings;
use super::refused;

#[test]
fn rooms_are_channels_of_one_namespace_which_knows_it() {
    let settings = Settings::from_toml(
        r#"
        [[channel.namespaces]]
        name = "talk"
        [[socketio.namespaces]]
        name = "/"
        rooms = "talk"
        join = ["lobby"]
        relay = { "Say it" = "lobby" }
        [[socketio.namespaces]]
        name = "/admin"
        "#,
    )
    .expect("valid");
    let [main, admin] = &settings.socketio.namespaces[..] else { panic!("two namespaces") };
    assert_eq!((&*main.name, &*main.rooms.as_ref().expect("rooms").name), ("/", "talk"));
    assert_eq!(main.relay["Say it"].room("", None).as_deref(), Some("lobby"));
    assert!(admin.rooms.is_none());
    assert_eq!(settings.channel.namespaces.0["talk"].socketio.as_deref(), Some("/"));
    let common =
        "[socketio]\nnamespaces = [{ name = \"/\" }]\n[socketio.namespace]\nrooms = \"chat\"\njoin = [\"lobby\"]";
    let settings = Settings::from_toml(common).expect("valid");
    assert_eq!(settings.socketio.namespaces[0].join, ["lobby"], "what it does not set itself");
    assert!(Settings::from_toml("").expect("valid").socketio.namespaces.is_empty(), "off by default");
}

#[test]
fn clients_come_back_where_it_says_so_and_then_all_rooms_have_one_order() {
    let of = |history: &str, recovery: &str| {
        let talk = format!("[[channel.namespaces]]\nname = \"talk\"\n{history}\n");
        let main = format!("[[socketio.namespaces]]\nname = \"/\"\nrooms = \"talk\"\n{recovery}");
        Settings::from_toml(&(talk + &main))
    };
    let settings = |recovery| of("history_size = 10\nhistory_ttl = \"5m\"", recovery);
    let with = settings("recovery = \"2m\"").expect("valid");
    let namespace = &with.socketio.namespaces[0];
    assert_eq!(namespace.recovery, Some(Duration::from_secs(120)));
    assert!(namespace.rooms.as_ref().expect("rooms").ordered && with.channel.namespaces.0["talk"].ordered);
    let without = settings("").expect("valid");
    assert!(without.socketio.namespaces[0].recovery.is_none() && !without.channel.namespaces.0["talk"].ordered);
    assert_eq!(
        refused(settings("recovery = \"10m\"")),
        "socketio.namespaces[0].recovery = \"10m\": longer than the history_ttl of its rooms"
    );
    assert_eq!(
        refused(of("", "recovery = \"2m\"")),
        "socketio.namespaces[0].recovery = \"2m\": its rooms keep no history (set history_size and history_ttl of theirs)"
    );
}

#[test]
fn what_cannot_work_is_refused() {
    for (namespaces, expected) in [
        ("{}", "socketio.namespaces[0].name: not set (the main namespace is \"/\")"),
        (
            "{ name = \"chat\" }",
            "socketio.namespaces[0].name = \"chat\": not a namespace's name (a slash, then anything without a comma: \"/\", \"/admin\")",
        ),
        ("{ name = \"/\" }, { name = \"/\" }", "socketio.namespaces[1].name = \"/\": two namespaces have this name"),
        ("{ name = \"/\", room = \"chat\" }", "socketio.namespaces[0].room: no such option (did you mean \"rooms\"?)"),
        (
            "{ name = \"/\", rooms = \"nowhere\" }",
            "socketio.namespaces[0].rooms = \"nowhere\": no such namespace in channel.namespaces",
        ),
        (
            "{ name = \"/\", rooms = \"chat\" }, { name = \"/a\", rooms = \"chat\" }",
            "socketio.namespaces[1].rooms = \"chat\": its channels are rooms of another namespace already",
        ),
        (
            "{ name = \"/\", join = [\"lobby\"] }",
            "socketio.namespaces[0].join = [\"lobby\"]: there are no rooms (set rooms to a namespace of channels)",
        ),
        (
            "{ name = \"/\", rooms = \"chat\", relay = { say = \"a*\" } }",
            "socketio.namespaces[0].relay = { say = \"a*\" }: \"a*\" cannot be a room's name",
        ),
        (
            "{ name = \"/\", rooms = \"chat\", join_on = \"join\" }",
            "socketio.namespaces[0].join_on = \"join\": no room may be joined (set may_join or may_join_claim)",
        ),
        (
            "{ name = \"/\", may_join = [\"public-*\"] }",
            "socketio.namespaces[0].may_join = [\"public-*\"]: there are no rooms (set rooms to a namespace of channels)",
        ),
        (
            "{ name = \"/\", may_join_claim = \"rooms\" }",
            "socketio.namespaces[0].may_join_claim = \"rooms\": there are no rooms (set rooms to a namespace of channels)",
        ),
        (
            "{ name = \"/\", rooms = \"chat\", may_join = [\"public-*\"] }",
            "socketio.namespaces[0].may_join = [\"public-*\"]: no event joins a room (set join_on)",
        ),
        (
            "{ name = \"/\", rooms = \"chat\", leave_on = \"say\", relay = { say = \"{1}\" } }",
            "socketio.namespaces[0].leave_on = \"say\": relay sends this event to a room",
        ),
        (
            "{ name = \"/\", recovery = \"2m\" }",
            "socketio.namespaces[0].recovery = \"2m\": there are no rooms (set rooms to a namespace of channels that keeps history)",
        ),
        (
            "{ name = \"/\", tell = [\"come\"] }",
            "socketio.namespaces[0].tell = [\"come\"]: none of \"connect\", \"disconnect\", \"join\", \"leave\", \"create\", \"delete\"",
        ),
    ] {
        // Development mode has a namespace `chat`.
        let toml = format!("[socketio]\nnamespaces = [{namespaces}]");
        assert_eq!(refused(Settings::from_toml(&toml)), expected);
    }
}
