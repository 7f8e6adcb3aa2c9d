//! Which address a request really comes from, when proxies stand before us.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use crate::settings::IpNet;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The client's address: the first one, seen from us, that is not a trusted proxy's.
    ///
    /// Everybody may send `X-Forwarded-For`; only what a trusted proxy appended to it is evidence. So it is read from
    /// the right, and not beyond the first hop that is not trusted or not an address.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let lists = headers.get_all("x-forwarded-for").iter().rev();
        // As bytes: a hop that is no text must not take the proxy's own word behind it along.
        for hop in lists.flat_map(|list| list.as_bytes().rsplit(|&byte| byte == b',')) {
            let Some(address) = parse(hop) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| holds(*network, address))
    }
}

/// What a limit per address counts: an IPv4 address, or the /64 that one IPv6 customer has.
#[must_use]
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// An address, perhaps with a port.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let address = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn holds(network: IpNet, address: IpAddr) -> bool {
    match (network.address.to_canonical(), address) {
        (IpAddr::V4(network_address), IpAddr::V4(address)) => {
            let beyond = 32_u32.saturating_sub(u32::from(network.prefix));
            (network_address.to_bits() ^ address.to_bits()).checked_shr(beyond).unwrap_or(0) == 0
        }
        (IpAddr::V6(network_address), IpAddr::V6(address)) => {
            let beyond = 128_u32.saturating_sub(u32::from(network.prefix));
            (network_address.to_bits() ^ address.to_bits()).checked_shr(beyond).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        let (address, prefix) = text.split_once('/').unwrap();
        IpNet { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::new(vec![net("10.0.0.0/8"), net("127.0.0.1/32"), net("fd00::/8")]);
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append("x-forwarded-for", list.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_appended_is_believed() {
        for (peer, forwarded, expected) in [
            // Nobody in between, whatever is claimed.
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["1.2.3.4"], "203.0.113.9"),
            // One proxy; what the client itself sent stands to the left.
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
            // Two proxies.
            ("127.0.0.1", &["6.6.6.6, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
            // Only proxies: the outermost known.
            ("127.0.0.1", &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            // No header, an empty one, rubbish: not beyond what is known.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4, _hidden, 10.3.3.3"], "10.3.3.3"),
            // Ports and IPv6, mapped ones too.
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn networks_hold_what_their_prefix_says() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.5/32", "192.0.2.5", true),
            ("192.0.2.5/32", "192.0.2.4", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1/128", "::2", false),
        ] {
            assert_eq!(holds(net(network), address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn one_ipv6_customer_is_one_key() {
        let key = |address: &str| customer(address.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("198.51.100.7"), "198.51.100.7");
        assert_eq!(key("::ffff:198.51.100.7"), "198.51.100.7");
    }
}
