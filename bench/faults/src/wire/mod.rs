//! What lies between any two parties: proxies of our own, which can be made to fail.

mod link;
mod sieve;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub use link::{Address, Kind, Link, Swallow};

use crate::plan::{Fault, Harm, Party, Target, link_name};

/// All links, by the two parties that they connect.
#[derive(Default)]
pub struct Links {
    links: BTreeMap<String, Vec<Link>>,
    ends: BTreeMap<String, (Party, Party)>,
}

impl Links {
    /// Lets `from` reach `to` at the address that comes back. Callees move when they start again: `address` is asked for
    /// every connection.
    pub async fn lay(&mut self, from: Party, to: Party, address: Address) -> anyhow::Result<SocketAddr> {
        let kind = match (from, to) {
            (Party::Node(_), Party::Server(_)) => Kind::ToServer,
            (Party::Client(_), _) => Kind::OfClient,
            _ => Kind::Other,
        };
        let link = Link::open(address, kind).await?;
        let at = link.address();
        let name = link_name(from, to);
        self.links.entry(name.clone()).or_default().push(link);
        self.ends.insert(name, (from, to));
        Ok(at)
    }

    /// Begins a fault of the wire; others are not for us. `step` tells it from others that are there at the same time.
    pub fn harm(&self, step: usize, fault: &Fault) {
        for (link, harm) in self.concerned(fault) {
            link.harm(step, harm);
        }
        if let Fault::Swallow { node, prey, count } = fault {
            let swallow = Swallow { prey: *prey, left: *count, own: format!("midplane.hb.node-{node}") };
            self.of_node(*node).for_each(|link| link.swallow(Some(swallow.clone())));
        }
    }

    /// Ends it.
    pub fn heal(&self, step: usize, fault: &Fault) {
        for (link, _) in self.concerned(fault) {
            link.heal(step);
        }
        if let Fault::Swallow { node, .. } = fault {
            self.of_node(*node).for_each(|link| link.swallow(None));
        }
    }

    fn concerned(&self, fault: &Fault) -> Vec<(&Link, Harm)> {
        let matching = |harm: Harm, concerns: &dyn Fn(Party, Party) -> bool| {
            let named = self.ends.iter().filter(|(_, (a, b))| concerns(*a, *b));
            named.flat_map(|(name, _)| &self.links[name]).map(|link| (link, harm)).collect()
        };
        match fault {
            Fault::Harm(a, b, harm) => {
                let name = link_name(*a, *b);
                self.links.get(&name).into_iter().flatten().map(|link| (link, *harm)).collect()
            }
            Fault::Isolate(Target::Node(node), harm) => matching(*harm, &|a, b| {
                let own = Party::Node(*node);
                matches!((a, b), (one, Party::Server(_)) | (Party::Server(_), one) if one == own)
            }),
            Fault::Isolate(Target::Server(server), harm) => matching(*harm, &|a, b| {
                let own = Party::Server(*server);
                matches!((a, b), (Party::Server(one), Party::Server(other)) if
                    Party::Server(one) == own || Party::Server(other) == own)
            }),
            _ => Vec::new(),
        }
    }

    fn of_node(&self, node: usize) -> impl Iterator<Item = &Link> {
        let concerned = move |(_, (a, b)): &(&String, &(Party, Party))| matches!((a, b), (Party::Node(n), Party::Server(_)) | (Party::Server(_), Party::Node(n)) if *n == node);
        self.ends.iter().filter(concerned).flat_map(|(name, _)| &self.links[name])
    }
}
