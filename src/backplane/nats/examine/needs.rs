//! Which subjects a node publishes and subscribes to, each as one that nobody hears: the token `%doctor` is no channel's,
//! no stream takes a message that is meant for another one, and JetStream answers what is no JSON with an error. But for a
//! purge: servers take that for one without a filter, and remove everything. So it has a filter that nothing matches.

use std::sync::Arc;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;

use super::super::streams::{Plan, bucket_name, epochs_bucket};
use super::super::subjects::{Purpose, Subjects};
use crate::backplane::{Bucket, Occupant};
use crate::protocol::Channel;
use crate::settings::{self, Namespaces};

/// What JetStream does not understand.
const NO_JSON: &[u8] = b"?";
/// A token that stands for no channel, key or node.
const NOBODY: &str = "%doctor";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    Publish,
    Subscribe,
}

/// What it means where it is not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nodes do not start, or something that they promise does not work.
    Needed,
    /// They work, and learn of some things late.
    Wanted,
    /// Where `allow_responses` is set it is permitted all the same, when there is something to respond to.
    ForResponses,
}

/// One thing that a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub act: Act,
    pub subject: String,
    /// What must be granted, as it stands in a server's configuration.
    pub grant: String,
    pub what_for: &'static str,
    pub weight: Weight,
    stored: bool,
    body: Bytes,
}

impl Need {
    /// Makes every stream refuse it.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.stored {
            headers.insert("Nats-Expected-Stream", HeaderValue::from("midplane-doctor"));
        }
        headers
    }

    /// What does nothing.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// Where changes of a bucket are told.
pub(super) fn changes(options: &settings::Nats, bucket: Bucket) -> String {
    Subjects::new(&options.prefix).below(&format!("registry.{}.>", bucket.name()))
}

struct Needs(Vec<Need>);

impl Needs {
    fn publish(&mut self, subject: String, grant: &str, what_for: &'static str) -> &mut Need {
        self.add(Act::Publish, subject, grant, what_for)
    }

    fn subscribe(&mut self, subject: String, grant: &str, what_for: &'static str) -> &mut Need {
        self.add(Act::Subscribe, subject, grant, what_for)
    }

    fn add(&mut self, act: Act, subject: String, grant: &str, what_for: &'static str) -> &mut Need {
        let grant = if grant.is_empty() { subject.clone() } else { grant.to_owned() };
        self.0.push(Need { act, subject, grant, what_for, weight: Weight::Needed, stored: false, body: Bytes::new() });
        self.0.last_mut().expect("it was pushed")
    }
}

/// Everything that a node of these settings does.
pub(super) fn of(options: &settings::Nats, namespaces: &Namespaces, plans: &[Plan]) -> Vec<Need> {
    let subjects = Subjects::new(&options.prefix);
    let below = subjects.below(">");
    let mut needs = Needs(Vec::new());
    for namespace in namespaces.iter() {
        let at = |purpose| subjects.all(purpose, &namespace.name).replace('>', NOBODY);
        needs.publish(at(Purpose::Publish), &below, "publishing").stored = namespace.history.is_some();
        if namespace.history.is_some() {
            needs.publish(at(Purpose::Live), &below, "publishing past history");
            needs.subscribe(at(Purpose::Live), &below, "deliveries");
            needs.subscribe(subjects.all(Purpose::Nudge, &namespace.name), &below, "what publishers could not confirm");
            needs.subscribe(subjects.epoch(&namespace.name), &below, "new epochs of a stream");
        } else {
            needs.subscribe(at(Purpose::Publish), &below, "deliveries");
        }
    }
    among_nodes(&mut needs, options, namespaces, &subjects);
    if namespaces.record_presence() || options.record_users {
        presence(&mut needs, &subjects);
    }
    for plan in plans {
        jetstream(&mut needs, options, plan);
    }
    needs.0
}

/// What nodes tell each other, and what backends ask them.
fn among_nodes(needs: &mut Needs, options: &settings::Nats, namespaces: &Namespaces, subjects: &Subjects) {
    let below = subjects.below(">");
    needs.publish(subjects.below(NOBODY), &below, "word to other nodes");
    for (topic, what_for) in [
        ("hb.*", "heartbeats of other nodes"),
        ("ask", "questions of other nodes"),
        ("answer.%doctor", "answers of other nodes"),
        ("control", "orders of backends"),
        ("watch", "what operators watch"),
        ("api.*", "calls of the server API"),
        ("sio-emit", "what other nodes' sockets are told"),
        ("sio-emit-abroad", "what servers behind Redis emit"),
        ("sio-orders", "what backends have sockets do"),
        ("sio-names", "rooms and sockets of other nodes"),
        ("sio-ack.%doctor", "acknowledgements of other nodes' sockets"),
        ("node.%doctor.emulation", "what clients on streams say elsewhere"),
        ("node.%doctor.engineio", "what clients of Socket.IO ask elsewhere"),
    ] {
        needs.subscribe(subjects.below(topic), &below, what_for);
    }
    for namespace in namespaces.ordered() {
        needs.subscribe(subjects.all(Purpose::Live, &namespace), &below, "deliveries");
    }
    if namespaces.ordered().next().is_some() {
        needs.subscribe(subjects.below("node.%doctor.session"), &below, "who has sessions of Socket.IO back elsewhere");
    }
    let buckets = Bucket::wanted(namespaces).map(|bucket| bucket_name(&options.prefix, bucket.name()));
    for bucket in buckets.chain([epochs_bucket(&options.prefix)]) {
        needs
            .publish(format!("$KV.{bucket}.{NOBODY}"), &format!("$KV.{bucket}.>"), "writing what nodes share")
            .stored = true;
    }
    for bucket in Bucket::wanted(namespaces).filter(|bucket| bucket.is_watched()) {
        needs.subscribe(changes(options, bucket), &below, "changes of what nodes share");
    }
    for prefix in ["_INBOX"].into_iter().chain(options.inbox_prefixes.iter().map(String::as_str)) {
        let need = needs.publish(format!("{prefix}.{NOBODY}"), &format!("{prefix}.>"), "answers to backends");
        need.weight = Weight::ForResponses;
    }
    needs.subscribe(format!("_INBOX.{NOBODY}"), "_INBOX.>", "answers of NATS and of backends");
}

fn presence(needs: &mut Needs, subjects: &Subjects) {
    let channel = Channel::parse(NOBODY, usize::MAX).expect("a name");
    let below = subjects.below(">");
    needs.subscribe(subjects.live_records_of(&channel), &below, "who comes and goes");
    for topic in ["presence.ask", "presence.vouched.%doctor"] {
        needs.subscribe(subjects.below(topic), &below, "whose records of presence are right");
    }
    let occupant = Occupant { node: Arc::from(NOBODY), channel, client: uuid::Uuid::nil() };
    needs.publish(subjects.record(&occupant), &below, "recording who is there").stored = true;
}

/// Of a subject that no stream holds.
fn purge_of_nothing(options: &settings::Nats) -> Bytes {
    let filter = Subjects::new(&options.prefix).below(NOBODY);
    serde_json::json!({ "filter": filter }).to_string().into()
}

fn jetstream(needs: &mut Needs, options: &settings::Nats, plan: &Plan) {
    let name = &plan.name;
    let mut verbs = vec![
        ("STREAM.INFO", "looking at streams"),
        ("STREAM.MSG.GET", "reading from the leader"),
        ("DIRECT.GET", "reading history"),
    ];
    if options.provision {
        verbs.push(("STREAM.CREATE", "making streams"));
        verbs.push(("STREAM.UPDATE", "changing streams"));
    }
    let holds_history = name.starts_with("MP_");
    if holds_history {
        verbs.push(("STREAM.PURGE", "removing history"));
    }
    for (verb, what_for) in verbs {
        let grant = if verb == "DIRECT.GET" { "$JS.API.DIRECT.GET.>".to_owned() } else { format!("$JS.API.{verb}.*") };
        let need = needs.publish(format!("$JS.API.{verb}.{name}"), &grant, what_for);
        need.body = if verb == "STREAM.PURGE" { purge_of_nothing(options) } else { Bytes::from_static(NO_JSON) };
    }
    let advisories: &[_] = match name {
        _ if holds_history => &["LEADER_ELECTED", "QUORUM_LOST"],
        // Nothing of it is republished that an election could lose.
        _ if *name == format!("KV_{}", epochs_bucket(&options.prefix)) => &[],
        _ => &["LEADER_ELECTED"],
    };
    for advisory in advisories {
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.{advisory}.{name}");
        let grant = format!("$JS.EVENT.ADVISORY.STREAM.{advisory}.*");
        needs.subscribe(subject, &grant, "elections of NATS").weight = Weight::Wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers remove everything where they understand no filter.
    #[test]
    fn a_purge_that_is_tried_always_has_a_filter_that_nothing_matches() {
        let settings = r#"nats.servers = ["nats://127.0.0.1:4222"]
            channel.namespaces = [{ name = "kept", history_size = 10, history_ttl = "1h" }]"#;
        let settings = settings::Settings::from_toml(settings).unwrap();
        let nats = settings.nats.unwrap();
        let namespaces = settings.channel.namespaces;
        let needs = of(&nats, &namespaces, &super::super::plans(&nats, &namespaces));
        let purges: Vec<_> = needs.iter().filter(|need| need.subject.contains("PURGE")).collect();
        assert_eq!(purges.len(), 1);
        assert_eq!(purges[0].body(), &br#"{"filter":"midplane.%doctor"}"#[..]);
        assert!(needs.iter().all(|need| !need.subject.contains("DELETE")));
    }
}
