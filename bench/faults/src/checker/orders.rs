//! Orders of a backend for a user's connections. Each is told to nodes at most once: in trouble it may not be heard, and it is
//! never carried out twice, nor for somebody else. While all is well it is carried out.

use std::collections::HashMap;

use super::{Report, Verdict, at};
use crate::journal::{Entry, Line, ORDERED, Phase};

/// What is known of one user.
#[derive(Default)]
struct Known {
    given: u64,
    carried_out: u64,
    /// When one was given, with everything healed, that nobody has carried out yet.
    awaits: Option<u64>,
}

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut known: HashMap<&str, Known> = HashMap::new();
    let mut healed = false;
    for line in lines {
        match &line.entry {
            Entry::PhaseBegan { phase } => healed = *phase == Phase::Healed,
            Entry::OrderBegan { user } => known.entry(user).or_default().given += 1,
            Entry::OrderAcked { user } if healed => {
                let user = known.entry(user).or_default();
                // It may have been carried out before its answer came.
                if user.carried_out < user.given {
                    user.awaits = Some(line.at);
                }
            }
            Entry::Disconnected { client, code: ORDERED, .. } => {
                let user = known.entry(client).or_default();
                user.carried_out += 1;
                user.awaits = None;
                if user.carried_out > user.given {
                    let what = format!("{client} was sent away at {}, which nobody had ordered", at(line.at));
                    report.find(Verdict::Phantom, what);
                }
            }
            _ => {}
        }
    }
    for (user, known) in &known {
        if let Some(given) = known.awaits {
            let what = format!("{user} stayed, although it was ordered away at {}, with everything healed", at(given));
            report.find(Verdict::Unheard, what);
        }
    }
    report.count("orders given", known.values().map(|known| known.given).sum());
    report.count("orders carried out", known.values().map(|known| known.carried_out).sum());
}
