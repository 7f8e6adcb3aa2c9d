//! NATS: what an [`Examination`] found comes to.

use std::collections::BTreeMap;

use super::Finding;
use crate::backplane::nats::examine::{
    Account, Act, Clock, Examination, Need, NoAccount, Server, Stream, StreamState, Usage, Weight, examine,
};
use crate::canary;
use crate::settings::{Nats, Settings, Storage};

/// Per-message TTL, which registries count on, came with it.
const OLDEST: (u64, u64) = (2, 11);
/// Batches of direct gets are answered with what they need to be proven whole.
const RECOMMENDED: (u64, u64) = (2, 12);
/// Bytes of a message beside its data: headers, names, what a client's publication is wrapped in.
const AROUND_DATA: u64 = 16 << 10;
/// The part of a limit that may be used before somebody should look at it.
const FULL: f64 = 0.85;
/// Seconds that clocks may differ.
const APART: f64 = 1.0;
const FAR_APART: f64 = 30.0;

pub(super) async fn examined(settings: &Settings) -> Vec<Finding> {
    let Some(options) = &settings.nats else {
        return vec![Finding::skipped("NATS", "not used: this node stands alone and keeps everything in its memory")];
    };
    let mut namespaces = settings.channel.namespaces.clone();
    if settings.canary.enabled {
        namespaces.0.insert(canary::NAMESPACE.to_owned(), std::sync::Arc::new(canary::namespace()));
    }
    let found = match examine(options, &namespaces).await {
        Ok(found) => found,
        Err(error) => {
            let advice =
                "look whether the server runs, at nats.servers, and at nats.user, password, token, nkey or credentials";
            return vec![Finding::failed("NATS", format!("{}: {error}", options.server_names()), advice)];
        }
    };
    let mut findings = servers(&found, settings);
    findings.push(jetstream(&found.jetstream, options));
    findings.extend(replicas(options, found.servers.len()));
    findings.extend(found.jetstream.as_ref().ok().and_then(|account| room(account, &found.streams, options)));
    findings.extend(streams(&found.streams, options));
    findings.extend(permissions(&found.needs));
    findings.push(clock(found.clock));
    findings
}

fn servers(found: &Examination, settings: &Settings) -> Vec<Finding> {
    const ABOUT: &str = "NATS";
    let described = |server: &Server| {
        let cluster = if server.cluster.is_empty() { String::new() } else { format!(" of {}", server.cluster) };
        format!("{}{cluster}, {}", server.name, server.version)
    };
    let mut findings = Vec::new();
    for server in &found.servers {
        findings.push(match version(&server.version) {
            Some(version) if version < OLDEST => {
                Finding::failed(ABOUT, described(server), "nodes need nats-server 2.11 or newer, 2.12 is better")
            }
            Some(version) if version < RECOMMENDED => {
                Finding::warning(ABOUT, described(server), "nats-server 2.12 or newer is recommended")
            }
            Some(_) => Finding::ok(ABOUT, described(server)),
            None => Finding::warning(ABOUT, described(server), "this version is not known to work"),
        });
    }
    for (server, why) in &found.unreached {
        let advice = "nodes go on with the others; look whether it runs, or take it out of nats.servers";
        findings.push(Finding::warning(ABOUT, format!("{server} is not reached: {why}"), advice));
    }
    let mut allowed = vec![("client.message_size_limit", settings.client.message_size_limit)];
    if !settings.socketio.namespaces.is_empty() {
        allowed.push(("socketio.max_payload", settings.socketio.max_payload));
    }
    for (option, bytes) in allowed {
        let largest = bytes as u64 + AROUND_DATA;
        if let Some(server) = found.servers.iter().find(|server| server.max_payload < largest) {
            let found = format!("{} takes {} bytes, {option} allows more", server.name, server.max_payload);
            findings.push(Finding::warning(ABOUT, found, format!("set max_payload to {largest} at least")));
        }
    }
    findings
}

/// `2.15.1` as its first two numbers.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.trim_start_matches('v').split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn jetstream(account: &Result<Account, NoAccount>, options: &Nats) -> Finding {
    const ABOUT: &str = "JetStream";
    match account {
        Ok(account) => {
            let found = format!(
                "memory {}, storage {}, streams {}, consumers {} (nodes use none)",
                bytes(account.memory),
                bytes(account.storage),
                number(account.streams),
                number(account.consumers)
            );
            let used = if options.storage == Storage::File { account.storage } else { account.memory };
            if fraction(used) > FULL {
                let advice =
                    "raise the limit of the account, or lower nats.max_bytes: full streams refuse publications";
                Finding::warning(ABOUT, found, advice)
            } else {
                Finding::ok(ABOUT, found)
            }
        }
        Err(NoAccount::Absent) => Finding::failed(
            ABOUT,
            "not enabled for this account",
            "switch it on: jetstream {} in the server's configuration, jetstream: enabled in the account's",
        ),
        Err(NoAccount::Denied) => {
            Finding::skipped(ABOUT, "its limits may not be seen (publish to $JS.API.INFO); nodes do not need to")
        }
        Err(NoAccount::Unanswered(why)) => Finding::failed(
            ABOUT,
            format!("does not answer: {why}"),
            "a cluster needs a leader: more than half of its servers, with routes to each other",
        ),
    }
}

fn bytes(usage: Usage) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    format!("{} of {}", mib(usage.used), usage.limit.map_or("no limit".to_owned(), mib))
}

fn number(usage: Usage) -> String {
    format!("{} of {}", usage.used, usage.limit.map_or("no limit".to_owned(), |limit| limit.to_string()))
}

fn fraction(usage: Usage) -> f64 {
    usage.limit.map_or(0.0, |limit| usage.used as f64 / (limit as f64).max(1.0))
}

fn replicas(options: &Nats, servers: usize) -> Option<Finding> {
    const ABOUT: &str = "replicas";
    let wanted = options.replicas;
    let found = format!("nats.replicas = {wanted}, servers seen: {servers}");
    Some(match (wanted, servers) {
        (_, 0) => return None,
        (wanted, servers) if wanted > servers => {
            Finding::failed(ABOUT, found, "streams cannot have more copies than there are servers: lower nats.replicas")
        }
        (2 | 4, _) => {
            Finding::warning(ABOUT, found, "an even number of copies survives no more than one fewer: take 3")
        }
        (1, 1) => Finding::ok(ABOUT, format!("{found}: whoever loses it loses history")),
        (1, _) => Finding::warning(ABOUT, found, "with one copy a server that is lost takes history along: take 3"),
        _ => Finding::ok(ABOUT, found),
    })
}

/// Whether the streams that are not there yet can be made.
fn room(account: &Account, streams: &[Stream], options: &Nats) -> Option<Finding> {
    const ABOUT: &str = "JetStream";
    let missing = streams.iter().filter(|stream| matches!(stream.state, StreamState::Absent)).count() as u64;
    if let Some(limit) = account.streams.limit
        && account.streams.used + missing > limit
    {
        let found = format!("{missing} more streams are needed, {} are there, {limit} allowed", account.streams.used);
        return Some(Finding::failed(ABOUT, found, "raise max_streams of the account"));
    }
    let of = if options.storage == Storage::File { account.storage } else { account.memory };
    let limits = options.max_bytes.unwrap_or(0).saturating_mul(missing);
    match of.limit {
        Some(limit) if limits > limit.saturating_sub(of.used) => {
            let found = format!("{missing} more streams of nats.max_bytes each do not fit into what is left");
            Some(Finding::failed(ABOUT, found, "lower nats.max_bytes, or raise the account's limit"))
        }
        _ => None,
    }
}

fn streams(streams: &[Stream], options: &Nats) -> Vec<Finding> {
    const ABOUT: &str = "streams";
    let mut findings = Vec::new();
    let (mut there, mut absent) = (0, Vec::new());
    for Stream { name, state } in streams {
        match state {
            StreamState::Absent => absent.push(name.as_str()),
            StreamState::Unknown(why) => {
                let advice = "a stream without an answer has no leader, or this user may not look at it";
                findings.push(Finding::failed(ABOUT, format!("{name}: {why}"), advice));
            }
            StreamState::There { replicas, lagging, differences, surplus } => {
                there += 1;
                if !differences.is_empty() {
                    let advice = "nodes do not start with it: change it as shown, or remove it with what it holds";
                    findings.push(Finding::failed(ABOUT, format!("{name}: {differences}"), advice));
                }
                for more in surplus {
                    let advice = "it stays so: give all nodes the same settings, or see nats.shrink_streams";
                    findings.push(Finding::warning(ABOUT, format!("{name}: {more}"), advice));
                }
                if !lagging.is_empty() {
                    let found = format!("{name}: of {replicas} copies are behind or away: {}", lagging.join(", "));
                    findings.push(Finding::warning(
                        ABOUT,
                        found,
                        "look at those servers: another loss may stop writes",
                    ));
                }
            }
        }
    }
    if absent.is_empty() || options.provision {
        let made =
            if absent.is_empty() { String::new() } else { format!(", {} are made by the first node", absent.len()) };
        findings.push(Finding::ok(ABOUT, format!("{there} are there{made}")));
    } else {
        let advice = "nats.provision is off: make them; a node that starts says with which command";
        findings.push(Finding::failed(ABOUT, format!("not there: {}", absent.join(", ")), advice));
    }
    findings
}

/// What is refused, by what would have to be granted; one line where nothing is.
fn permissions(needs: &[(Need, bool)]) -> Vec<Finding> {
    const ABOUT: &str = "permissions";
    let mut refused: BTreeMap<(bool, &str), Vec<&Need>> = BTreeMap::new();
    for (need, _) in needs.iter().filter(|(_, permitted)| !permitted) {
        refused.entry((need.act == Act::Publish, &need.grant)).or_default().push(need);
    }
    if refused.is_empty() {
        return vec![Finding::ok(ABOUT, format!("all {} subjects that nodes use are permitted", needs.len()))];
    }
    let line = |((publishes, grant), needs): ((bool, &str), Vec<&Need>)| {
        let act = if publishes { "publish" } else { "subscribe" };
        let mut purposes: Vec<_> = needs.iter().map(|need| need.what_for).collect();
        purposes.dedup();
        let found = format!("may not {act} to {}: {}", needs[0].subject, purposes.join(", "));
        let advice = format!("allow this user to {act} to {grant:?}");
        match needs.iter().map(|need| need.weight).min_by_key(|weight| *weight != Weight::Needed) {
            Some(Weight::Needed) | None => Finding::failed(ABOUT, found, advice),
            Some(Weight::Wanted) => Finding::warning(ABOUT, found, format!("{advice}, or losses are found late")),
            Some(Weight::ForResponses) => {
                let found = "may not publish to inboxes of its own accord";
                Finding::warning(ABOUT, found, format!("{advice}, unless allow_responses is set"))
            }
        }
    };
    refused.into_iter().map(line).collect()
}

fn clock(clock: Option<Clock>) -> Finding {
    const ABOUT: &str = "clock";
    let Some(Clock { ahead, within }) = clock else {
        return Finding::skipped(ABOUT, "not compared: NATS tells its time with a stream, and there is none yet");
    };
    let direction = if ahead < 0.0 { "behind" } else { "ahead of" };
    let found = format!("that of NATS is {:.3} s {direction} this machine's (give or take {within:.3} s)", ahead.abs());
    let off = (ahead.abs() - within).max(0.0);
    let advice =
        "let both follow the same time servers (NTP): tokens expire, and deliveries are timed, by these clocks";
    if off > FAR_APART {
        Finding::failed(ABOUT, found, advice)
    } else if off > APART {
        Finding::warning(ABOUT, found, advice)
    } else {
        Finding::ok(ABOUT, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("2.9.25").unwrap() < OLDEST);
        assert!(version("2.11.0").unwrap() >= OLDEST && version("2.11.0").unwrap() < RECOMMENDED);
        assert!(version("v2.15.1-preview.1").unwrap() > RECOMMENDED);
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn clocks_are_judged_by_what_is_certain() {
        let verdict = |ahead, within| clock(Some(Clock { ahead, within })).verdict;
        assert_eq!(verdict(-0.4, 0.001), Verdict::Ok);
        assert_eq!(verdict(2.5, 2.0), Verdict::Ok);
        assert_eq!(verdict(-2.5, 0.1), Verdict::Warning);
        assert_eq!(verdict(60.0, 0.1), Verdict::Failed);
        assert!(clock(Some(Clock { ahead: -2.5, within: 0.1 })).found.contains("2.500 s behind"));
    }

    #[test]
    fn copies_are_judged_by_the_servers_there_are() {
        let mut settings = Settings::from_toml("nats.servers = [\"nats://127.0.0.1\"]").unwrap().nats.unwrap();
        let mut verdict = |copies, servers| {
            settings.replicas = copies;
            replicas(&settings, servers).map(|finding| finding.verdict)
        };
        assert_eq!(verdict(1, 1), Some(Verdict::Ok));
        assert_eq!(verdict(1, 3), Some(Verdict::Warning));
        assert_eq!(verdict(2, 3), Some(Verdict::Warning));
        assert_eq!(verdict(3, 3), Some(Verdict::Ok));
        assert_eq!(verdict(3, 1), Some(Verdict::Failed));
        assert_eq!(verdict(3, 0), None);
    }
}
