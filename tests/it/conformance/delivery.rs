//! What was subscribed to is delivered: whole, in order, once.

use bytes::Bytes;
use futures_util::future::join_all;
use midplane::backplane::{Meta, Outgoing};
use midplane::protocol::Offset;

use crate::support::eventually;
use crate::support::member::{Member, channel, outgoing, text};

pub async fn suite(node: &Member) {
    an_own_publication_comes_back(node).await;
    channels_keep_their_order_side_by_side(node).await;
    each_stored_message_names_the_one_before_it(node).await;
    what_travels_beside_the_data_arrives(node).await;
    strange_names_are_channels_of_their_own(node).await;
    empty_data_is_a_message(node).await;
    nothing_comes_after_unsubscribing(node).await;
    subscribing_twice_delivers_once(node).await;
    unknown_namespaces_are_refused(node).await;
}

async fn an_own_publication_comes_back(node: &Member) {
    for name in ["kept:own", "plain:own", "own", "$kept:own"] {
        let channel = channel(name);
        node.subscribe(&channel).await;
        let published = node.publish(&channel, "hello").await;
        let messages = node.received(&channel, 1).await;
        assert_eq!(text(&messages[0].data), "hello");
        let offset = published.position.as_ref().map(|position| position.offset);
        assert_eq!(messages[0].link.map(|link| link.offset), offset, "{name}");
        assert_eq!(offset.is_some(), channel.namespace() == "kept");
        assert!(!published.suppressed);
    }
}

async fn channels_keep_their_order_side_by_side(node: &Member) {
    let channels: Vec<_> =
        (0..4).flat_map(|n| [channel(&format!("kept:order.{n}")), channel(&format!("plain:order.{n}"))]).collect();
    join_all(channels.iter().map(|channel| node.subscribe(channel))).await;
    let publishing = channels.iter().map(async |channel| {
        for n in 0..50 {
            node.publish(channel, &n.to_string()).await;
        }
    });
    join_all(publishing).await;
    let wanted: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    for channel in &channels {
        node.received(channel, 50).await;
        assert_eq!(node.texts(channel), wanted, "{channel}");
    }
}

async fn each_stored_message_names_the_one_before_it(node: &Member) {
    let (ours, other) = (channel("kept:chain"), channel("kept:chain.other"));
    node.subscribe(&ours).await;
    let mut before = 0;
    for n in 0..12 {
        node.store(&other, "between").await;
        let offset = node.store(&ours, &n.to_string()).await;
        let messages = node.received(&ours, n + 1).await;
        let link = messages[n].link.expect("a stored message");
        assert_eq!((link.offset, link.previous), (Offset(offset), Offset(before)));
        assert!(link.stored_at > 1_700_000_000_000_000_000, "nanoseconds since 1970");
        before = offset;
    }
}

async fn what_travels_beside_the_data_arrives(node: &Member) {
    for name in ["kept:meta", "plain:meta"] {
        let channel = channel(name);
        node.subscribe(&channel).await;
        let tags = [("kind", "a: b\r\nc"), ("Größe %", " ü "), ("x:y z", "")];
        let mut meta = Meta {
            info: Some(Bytes::from_static(br#"{"user":"ada","client":"1","conn_info":{"a": [1]}}"#)),
            tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            tombstone: false,
            delta: true,
            bridged: false,
        };
        let message = Outgoing { meta: meta.clone(), ..outgoing("with") };
        node.backplane.publish(&channel, message).await.unwrap();
        let mut got = node.received(&channel, 1).await[0].meta.clone();
        got.tags.sort();
        meta.tags.sort();
        assert_eq!(got, meta);
        if name.starts_with("kept") {
            let mut stored = node.history().page(&channel, Offset(1), 10).await.unwrap().messages.remove(0).meta;
            stored.tags.sort();
            assert_eq!(stored, meta);
        }
    }
}

async fn strange_names_are_channels_of_their_own(node: &Member) {
    for namespace in ["", "kept:", "plain:"] {
        let names = ["a.b", "a b", "a*", "a>", "%", "%25", "..", ".a", "a.", "#42", "ü", "a:b", "$x", "_", ".$"];
        let in_namespace = |name: &&str| !namespace.is_empty() || !name.contains(':');
        let names: Vec<_> =
            names.into_iter().filter(in_namespace).map(|name| channel(&format!("{namespace}{name}"))).collect();
        join_all(names.iter().map(|channel| node.subscribe(channel))).await;
        join_all(names.iter().map(|channel| node.publish(channel, channel.as_str()))).await;
        for channel in &names {
            node.received(channel, 1).await;
            assert_eq!(node.texts(channel), [channel.as_str()]);
        }
    }
}

async fn empty_data_is_a_message(node: &Member) {
    for name in ["kept:empty", "plain:empty"] {
        let channel = channel(name);
        node.subscribe(&channel).await;
        for data in ["", "full", ""] {
            node.publish(&channel, data).await;
        }
        node.received(&channel, 3).await;
        assert_eq!(node.texts(&channel), ["", "full", ""]);
    }
    let page = node.history().page(&channel("kept:empty"), Offset(1), 10).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| text(&message.data)).collect::<Vec<_>>(), ["", "full", ""]);
}

async fn nothing_comes_after_unsubscribing(node: &Member) {
    for namespace in ["kept", "plain"] {
        let (left, stays) = (channel(&format!("{namespace}:left")), channel(&format!("{namespace}:stays")));
        node.subscribe(&left).await;
        node.subscribe(&stays).await;
        node.publish(&left, "before").await;
        node.received(&left, 1).await;
        node.backplane.unsubscribe(&left);
        // Those that are on their way may come; later ones must not.
        eventually("deliveries end", async || {
            let before = node.messages(&left).len();
            node.publish(&left, "after").await;
            node.publish(&stays, "after").await;
            let arrived = node.messages(&stays).len() + 1;
            node.received(&stays, arrived.min(1)).await;
            (node.messages(&left).len() == before).then_some(())
        })
        .await;
        node.subscribe(&left).await;
        let before = node.messages(&left).len();
        node.publish(&left, "again").await;
        let messages = node.received(&left, before + 1).await;
        assert_eq!(text(&messages.last().unwrap().data), "again");
    }
}

async fn subscribing_twice_delivers_once(node: &Member) {
    for name in ["kept:twice", "plain:twice"] {
        let channel = channel(name);
        tokio::join!(node.subscribe(&channel), node.subscribe(&channel));
        node.subscribe(&channel).await;
        node.publish(&channel, "one").await;
        node.publish(&channel, "two").await;
        node.received(&channel, 2).await;
        assert_eq!(node.texts(&channel), ["one", "two"]);
    }
}

async fn unknown_namespaces_are_refused(node: &Member) {
    let Some(history) = node.backplane.history() else { return };
    let channel = channel("plain:none");
    assert!(history.top(&channel).await.is_err());
    assert!(history.bounds("plain").await.is_err());
    assert!(history.bounds("nowhere").await.is_err());
}
