//! What holds for every header that a stranger can write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use url::Url;

use super::{Origins, TrustedProxies};
use crate::settings::{IpNet, OriginPattern};

const FORWARDED: &str = "x-forwarded-for";

/// Proxies in 10.0.0.0/8 and fd00::/8.
fn proxies() -> TrustedProxies {
    let net = |address: IpAddr| IpNet { address, prefix: 8 };
    TrustedProxies::new(vec![
        net(Ipv4Addr::new(10, 0, 0, 0).into()),
        net(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0).into()),
    ])
}

fn proxy() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(10, b, c, d).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 8 | 0xfd << 120).into()),
    ]
}

fn stranger() -> impl Strategy<Value = IpAddr> {
    let any_address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
    ];
    any_address.prop_filter("no proxy", |address| match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] != 10,
        IpAddr::V6(address) => address.octets()[0] != 0xfd,
    })
}

/// What may stand in a header's value: lists of addresses, proxies' too, and any bytes.
fn forged() -> impl Strategy<Value = Vec<u8>> {
    let hop = prop_oneof![
        proxy().prop_map(|address| address.to_string().into_bytes()),
        stranger().prop_map(|address| address.to_string().into_bytes()),
        proptest::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 0..12),
    ];
    proptest::collection::vec(hop, 0..4).prop_map(|hops| hops.join(&b", "[..]))
}

fn headers(lists: &[Vec<u8>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for list in lists {
        headers.append(FORWARDED, HeaderValue::from_bytes(list).expect("a header's value"));
    }
    headers
}

/// An origin's parts as browsers write them.
fn parts() -> impl Strategy<Value = (String, String, Option<u16>)> {
    let host = prop_oneof!["[a-c]{1,2}([.][a-c]{1,2}){0,2}", Just("localhost".to_owned()), Just("[::1]".to_owned())];
    (
        prop_oneof!["https?", "wss?", Just("capacitor".to_owned())],
        host,
        proptest::option::of(prop_oneof![Just(80), Just(443), 1_u16..,]),
    )
}

fn written((scheme, host, port): &(String, String, Option<u16>)) -> String {
    port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))
}

/// The parts with the port that is meant where none is written.
fn meant((scheme, host, port): &(String, String, Option<u16>)) -> (String, String, Option<u16>) {
    let own = match scheme.as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    (scheme.clone(), host.clone(), port.or(own))
}

fn allows(patterns: &[&str], development: bool, origin: &[u8]) -> bool {
    let patterns: Vec<_> = patterns.iter().map(|&pattern| OriginPattern(pattern.to_owned())).collect();
    let mut headers = HeaderMap::new();
    headers.insert(header::ORIGIN, HeaderValue::from_bytes(origin).expect("a header's value"));
    Origins::new(&patterns, development).allow(&headers)
}

/// Pieces that origins are forged of.
fn forged_origin() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("https://"),
        Just("example.com"),
        Just(".example.com"),
        Just("evil.org"),
        Just("localhost"),
        Just(".localhost"),
        Just("127.0.0.1"),
        Just("[::1]"),
        Just(":443"),
        Just(":8000"),
        Just("%2f"),
        Just("%2e"),
        prop_oneof![Just(":"), Just("/"), Just("\\"), Just("@"), Just("#"), Just("?"), Just("."), Just("["), Just("]")],
        prop_oneof![Just("\t"), Just(" "), Just("a"), Just("-"), Just("*"), Just(";"), Just("&"), Just("\"")],
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| format!("https://{}", pieces.concat()))
}

/// The host that a browser would ask, were this a page's address.
fn host(origin: &str) -> Option<String> {
    Url::parse(origin).ok()?.host_str().map(str::to_owned)
}

proptest! {
    #[test]
    fn who_stands_before_no_proxy_is_who_it_is(
        peer in stranger(),
        lists in proptest::collection::vec(forged(), 0..3),
    ) {
        prop_assert_eq!(proxies().client(peer, &headers(&lists)), peer.to_canonical());
    }

    #[test]
    fn nobody_behind_proxies_chooses_its_own_address(
        client in stranger(),
        claimed in proptest::collection::vec(forged(), 0..3),
        between in proptest::collection::vec(proxy(), 0..3),
        peer in proxy(),
        in_one_line in any::<bool>(),
    ) {
        // The first proxy appends the client's address to what came, every further one its predecessor's.
        let appended: Vec<_> = std::iter::once(client).chain(between).map(|hop| hop.to_string()).collect();
        let mut lists = claimed;
        let mut own = appended.join(", ").into_bytes();
        if in_one_line && let Some(mut last) = lists.pop() {
            last.extend_from_slice(b", ");
            last.append(&mut own);
            own = last;
        }
        lists.push(own);
        prop_assert_eq!(proxies().client(peer, &headers(&lists)), client.to_canonical());
    }

    #[test]
    fn an_address_is_the_peers_or_stands_in_the_header(
        peer in prop_oneof![proxy(), stranger()],
        lists in proptest::collection::vec(forged(), 0..3),
    ) {
        let client = proxies().client(peer, &headers(&lists));
        let named = lists.iter().flat_map(|list| list.split(|&byte| byte == b','));
        let mut named = named.filter_map(|hop| std::str::from_utf8(hop).ok()?.trim().parse::<IpAddr>().ok());
        // Hops with a port name an address too; a forged one may have got one.
        let with_port = lists.iter().any(|list| list.contains(&b':'));
        prop_assert!(client == peer.to_canonical() || with_port || named.any(|hop| hop.to_canonical() == client));
    }

    #[test]
    fn an_origin_without_stars_lets_in_itself_and_no_other(pattern in parts(), origin in parts(), upper in any::<bool>()) {
        let text = if upper { written(&pattern).to_uppercase() } else { written(&pattern) };
        prop_assert!(allows(&[&written(&pattern)], false, text.as_bytes()));
        prop_assert!(allows(&[&text], false, written(&pattern).as_bytes()));
        let same = meant(&pattern) == meant(&origin);
        prop_assert_eq!(allows(&[&written(&pattern)], false, written(&origin).as_bytes()), same);
    }

    #[test]
    fn a_pattern_never_lets_in_another_host(origin in forged_origin()) {
        let host = host(&origin).unwrap_or_default();
        if allows(&["https://*.example.com", "https://*.example.com:*"], false, origin.as_bytes()) {
            prop_assert!(host.ends_with(".example.com"), "{:?} is {:?}", origin, host);
        }
        if allows(&["https://example.com", "*://example.com:*"], false, origin.as_bytes()) {
            prop_assert_eq!(host.as_str(), "example.com", "{:?}", origin);
        }
        if allows(&[], true, origin.as_bytes()) {
            let local = host == "localhost" || host.ends_with(".localhost");
            prop_assert!(local || host == "127.0.0.1" || host == "[::1]", "{:?} is {:?}", origin, host);
        }
    }

    #[test]
    fn any_origin_and_any_pattern_are_answered(
        pattern in "\\PC{0,40}",
        origin in proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20..0x7f_u8, 0x80..=0xff_u8], 0..60),
    ) {
        let _ = allows(&[&pattern], true, &origin);
        prop_assert!(!allows(&[], false, &origin), "without a pattern nobody is let in");
    }
}
