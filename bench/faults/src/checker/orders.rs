//! Orders of a backend for a user's connections. Each is told to nodes at most once: in trouble a node may not hear it, or hear
//! it late and carry it out at a connection that came since; no node carries it out twice, nor for somebody else. While all is
//! well it is carried out.

use std::collections::{HashMap, HashSet};

use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, ORDERED, Order, PUT_OUT, Phase};
use crate::plan::Promise;

/// What is known of one user and one kind of order.
#[derive(Default)]
struct Known<'a> {
    given: u64,
    /// How often, by node.
    carried_out: HashMap<&'a str, u64>,
    /// One was carried out since the last was given.
    is_obeyed: bool,
    /// Whom it concerns has been there since the last was given.
    concerns: bool,
    /// When one was given, with everything healed, that nobody has carried out yet.
    awaits: Option<u64>,
}

/// Whether a subscription ended because a backend wanted it.
pub fn is_put_out(channel: &str, code: u32) -> bool {
    code == PUT_OUT && Promise::of(channel) == Some(Promise::Lounge)
}

/// The order that was carried out here, and at whom.
fn carried_out(entry: &Entry) -> Option<(&str, Order)> {
    match entry {
        Entry::Disconnected { client, code: ORDERED, .. } => Some((client, Order::Disconnect)),
        Entry::Unsubscribed { client, channel, code, .. } if is_put_out(channel, *code) => {
            Some((client, Order::Unsubscribe))
        }
        _ => None,
    }
}

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut known: HashMap<(&str, Order), Known> = HashMap::new();
    let mut nodes: HashMap<&str, &str> = HashMap::new();
    // Who is there, so that an order of this kind can be carried out.
    let mut there: HashSet<(&str, Order)> = HashSet::new();
    let mut healed = false;
    for line in lines {
        if let Some((user, order)) = carried_out(&line.entry) {
            let known = known.entry((user, order)).or_default();
            known.is_obeyed = true;
            known.awaits = None;
            let node = nodes.get(user).copied().unwrap_or_default();
            let carried_out = known.carried_out.entry(node).or_default();
            *carried_out += 1;
            if *carried_out > known.given {
                let what = format!("{order:?} of {user} by {node} at {}, which nobody had ordered", at(line.at));
                report.find(Verdict::Phantom, what);
            }
        }
        match &line.entry {
            Entry::PhaseBegan { phase } => healed = *phase == Phase::Healed,
            Entry::OrderBegan { user, order } => {
                let known = known.entry((user, *order)).or_default();
                known.given += 1;
                known.is_obeyed = false;
                known.concerns = there.contains(&(user.as_str(), *order));
            }
            Entry::OrderAcked { user, order } if healed => {
                let known = known.entry((user, *order)).or_default();
                // It may have been carried out before its answer came, and earlier ones never.
                if !known.is_obeyed && known.concerns {
                    known.awaits = Some(line.at);
                }
            }
            Entry::Connected { client, node, .. } => {
                nodes.insert(client, node);
                there.insert((client, Order::Disconnect));
            }
            Entry::Subscribed { client, channel, .. } if Promise::of(channel) == Some(Promise::Lounge) => {
                there.insert((client, Order::Unsubscribe));
            }
            Entry::Unsubscribed { client, channel, .. } if Promise::of(channel) == Some(Promise::Lounge) => {
                there.remove(&(client.as_str(), Order::Unsubscribe));
                known.entry((client, Order::Unsubscribe)).or_default().concerns = false;
            }
            // Who is not there need not leave.
            Entry::Disconnected { client, .. } => {
                for order in [Order::Disconnect, Order::Unsubscribe] {
                    there.remove(&(client.as_str(), order));
                    known.entry((client, order)).or_default().concerns = false;
                }
                known.entry((client, Order::Unsubscribe)).or_default().awaits = None;
            }
            _ => {}
        }
    }
    for ((user, order), known) in &known {
        if let Some(given) = known.awaits {
            let what = format!("{order:?} of {user}, ordered at {} with everything healed, was not done", at(given));
            report.find(Verdict::Unheard, what);
        }
    }
    report.count("orders given", known.values().map(|known| known.given).sum());
    report.count("orders carried out", known.values().flat_map(|known| known.carried_out.values()).sum());
}
