//! Tokens that were taken back. Once that is acknowledged, no node lets anybody in with them, and who is in is sent away: at
//! once while all is well, and in trouble as soon as their node can know of it.

use std::collections::HashMap;

use super::{Report, Verdict, at};
use crate::journal::{Entry, Line};

/// The second that is promised, on a busy machine.
const AT_ONCE: u64 = 5_000_000;
/// In trouble: within this a node knows of it, or that it may know too little.
const IN_TROUBLE: u64 = 45_000_000;

struct Stay<'a> {
    user: &'a str,
    node: &'a str,
    since: u64,
    until: Option<u64>,
}

pub fn judge(lines: &[Line], report: &mut Report) {
    let mut stays: HashMap<u64, Stay> = HashMap::new();
    let mut revoked: HashMap<&str, u64> = HashMap::new();
    let mut healed = u64::MAX;
    for line in lines {
        match &line.entry {
            Entry::LastVisits => healed = line.at,
            Entry::LetIn { user, node, connection } => {
                stays.insert(*connection, Stay { user, node, since: line.at, until: None });
            }
            Entry::SentAway { connection, .. } => {
                stays.entry(*connection).and_modify(|stay| stay.until = Some(line.at));
            }
            Entry::Revoked { user } => drop(revoked.insert(user, line.at)),
            _ => {}
        }
    }
    let mut let_in = 0;
    for Stay { user, node, since, until } in stays.values() {
        let Some(revoked) = revoked.get(user) else { continue };
        let_in += u64::from(since > revoked);
        // What was revoked in trouble has no more time once everything is healed than what is revoked then.
        let within = |began: u64| if began > healed { AT_ONCE } else { IN_TROUBLE };
        if *since > revoked + within(*since) {
            let what = format!("{user} was let in by {node} at {}, revoked at {}", at(*since), at(*revoked));
            report.find(Verdict::Unrevoked, what);
        }
        let begun = *revoked.max(since);
        if until.is_none_or(|until| begun > healed && until > begun + AT_ONCE) {
            let what = format!("{user} stayed at {node}, revoked at {}, there since {}", at(*revoked), at(*since));
            report.find(Verdict::Unrevoked, what);
        }
    }
    report.count("tokens revoked", revoked.len() as u64);
    report.count("let in late", let_in);
}
