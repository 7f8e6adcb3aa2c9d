//! The handles, by room.

use std::sync::Arc;

use ::metrics::{Counter, Gauge, Histogram, Label as Pair};

use tracing::warn;

use super::labels::*;
use super::names;
use super::pace::Pace;
use super::registry::{ByNamespace, Counters, Family, Gauges, Histograms, Registry};
use crate::backplane::GapCause;
use crate::protocol::centrifuge::Format;
use crate::protocol::centrifuge::codes::{Disconnect, DisconnectCode};

/// The node as a whole.
pub struct Node {
    /// 1 while it serves.
    pub ready: Gauge,
    pub tasks_lost: Counter,
    pub canary_duration: Histogram,
    pub canary_failures: Counters<CanaryFailure>,
    pub canary_silent_peers: Gauge,
    /// Seconds since the Unix epoch.
    pub canary_last_success: Gauge,
    pub drain_remaining: Gauge,
    /// Seconds since the Unix epoch.
    pub drain_deadline: Gauge,
    /// 0 to 1.
    pub busy_ratio: Gauge,
    pub tasks_alive: Gauge,
    /// Seconds.
    pub poll_delay: Gauge,
}

impl Node {
    pub(super) fn new(registry: &Registry) -> Self {
        let version = Pair::new("version", env!("CARGO_PKG_VERSION"));
        let revision = Pair::new("revision", option_env!("MIDPLANE_REVISION").unwrap_or("unknown"));
        let build: Gauge = registry.labelled(&names::BUILD_INFO, vec![version, revision]);
        build.set(1);
        Self {
            ready: registry.one(&names::READY),
            tasks_lost: registry.one(&names::TASKS_LOST),
            canary_duration: registry.one(&names::CANARY_DURATION),
            canary_failures: registry.family(&names::CANARY_FAILURES),
            canary_silent_peers: registry.one(&names::CANARY_SILENT_PEERS),
            canary_last_success: registry.one(&names::CANARY_LAST_SUCCESS),
            drain_remaining: registry.one(&names::DRAIN_REMAINING_CONNECTIONS),
            drain_deadline: registry.one(&names::DRAIN_DEADLINE),
            busy_ratio: registry.one(&names::RUNTIME_BUSY_RATIO),
            tasks_alive: registry.one(&names::RUNTIME_TASKS),
            poll_delay: registry.one(&names::RUNTIME_POLL_DELAY),
        }
    }
}

/// The HTTP edge: connections as they come and go, and everything else that is asked over HTTP.
pub struct Http {
    pub connections: Gauges<(Transport, Protocol)>,
    /// 0 is without limit.
    pub connections_limit: Gauge,
    pub connections_opened: Counters<(Transport, Protocol)>,
    pub connections_closed: Counters<(Transport, CloseCode)>,
    pub connection_duration: Histograms<Transport>,
    pub handshakes_rejected: Counters<Rejection>,
    pub handshakes_inflight: Gauge,
    pub handshake_duration: Histograms<Protocol>,
    pub requests: Counters<(Route, Method, StatusClass)>,
    pub request_duration: Histograms<Route>,
    pub cut: Counters<Cut>,
    pub rate_limited: Counters<LimitScope>,
}

impl Http {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            connections: registry.family(&names::CONNECTIONS),
            connections_limit: registry.one(&names::CONNECTIONS_LIMIT),
            connections_opened: registry.family(&names::CONNECTIONS_OPENED),
            connections_closed: registry.family(&names::CONNECTIONS_CLOSED),
            connection_duration: registry.family(&names::CONNECTION_DURATION),
            handshakes_rejected: registry.family(&names::HANDSHAKES_REJECTED),
            handshakes_inflight: registry.one(&names::HANDSHAKES_INFLIGHT),
            handshake_duration: registry.family(&names::HANDSHAKE_DURATION),
            requests: registry.family(&names::HTTP_REQUESTS),
            request_duration: registry.family(&names::HTTP_REQUEST_DURATION),
            cut: registry.family(&names::HTTP_CUT),
            rate_limited: registry.family(&names::RATE_LIMITED),
        }
    }
}

/// Sessions: what clients say and are told.
pub struct Clients {
    pub commands: Counters<(Protocol, Command, Outcome)>,
    pub command_duration: Histograms<Command>,
    pub sent_messages: Counters<Transport>,
    pub sent_bytes: Counters<Transport>,
    pub received_messages: Counters<Transport>,
    pub received_bytes: Counters<Transport>,
    pub ping_rtt: Histograms<Transport>,
    pub outbox_bytes: Gauge,
    pub slow_consumers: Counters<SlowAction>,
    pub orders_failed: Counter,
    pub auth: Counters<Verdict>,
    pub user_limit: Counters<UserLimit>,
    pub revocations: Gauge,
    pub hooks: Counters<(HookEvent, HookResult)>,
    pub hook_duration: Histograms<HookEvent>,
    pub emulation: Counters<Posted>,
    pub upgrades: Counters<Upgrade>,
    pub forwarded: Counters<Forwarded>,
    pub moves: Counters<Moving>,
    pub events: Counters<EventResult>,
    pub emits: Counters<EmitResult>,
    pub acks: Counters<AckResult>,
    pub returned: Counters<Returned>,
    pub unwritten: Counters<Unwritten>,
    pub notices: Counters<(Notice, NoticeResult)>,
    pub rpc: Counters<RpcResult>,
    pub rpc_duration: Histograms<RpcResult>,
}

impl Clients {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            commands: registry.family(&names::COMMANDS),
            command_duration: registry.family(&names::COMMAND_DURATION),
            sent_messages: registry.family(&names::SENT_MESSAGES),
            sent_bytes: registry.family(&names::SENT_BYTES),
            received_messages: registry.family(&names::RECEIVED_MESSAGES),
            received_bytes: registry.family(&names::RECEIVED_BYTES),
            ping_rtt: registry.family(&names::PING_RTT),
            outbox_bytes: registry.one(&names::OUTBOX_BYTES),
            slow_consumers: registry.family(&names::SLOW_CONSUMERS),
            orders_failed: registry.one(&names::ORDERS_FAILED),
            auth: registry.family(&names::AUTH),
            user_limit: registry.family(&names::USER_LIMIT),
            revocations: registry.one(&names::REVOCATIONS),
            hooks: registry.family(&names::HOOKS),
            hook_duration: registry.family(&names::HOOK_DURATION),
            emulation: registry.family(&names::EMULATION),
            upgrades: registry.family(&names::SOCKETIO_UPGRADES),
            forwarded: registry.family(&names::SOCKETIO_FORWARDED),
            moves: registry.family(&names::SOCKETIO_MOVES),
            events: registry.family(&names::SOCKETIO_EVENTS),
            emits: registry.family(&names::SOCKETIO_EMITS),
            acks: registry.family(&names::SOCKETIO_ACKS),
            returned: registry.family(&names::SOCKETIO_RETURNS),
            unwritten: registry.family(&names::SOCKETIO_UNWRITTEN),
            notices: registry.family(&names::SOCKETIO_NOTICES),
            rpc: registry.family(&names::RPC),
            rpc_duration: registry.family(&names::RPC_DURATION),
        }
    }
}

impl Clients {
    /// Counts deliveries by format: messages, then bytes.
    pub fn count_sent(&self, sent: impl Iterator<Item = (Format, usize, usize)>) {
        for (format, messages, bytes) in sent {
            self.sent_messages.of(format.into()).increment(messages as u64);
            self.sent_bytes.of(format.into()).increment(bytes as u64);
        }
    }

    /// Counts a connection that is closed, where it is because its reader is too slow: for deliveries or for its replies.
    pub fn count_closing(&self, disconnect: &Disconnect) {
        if disconnect.code() == DisconnectCode::Slow.code() {
            self.slow_consumers.of(SlowAction::Closed).increment(1);
        }
    }
}

/// The relay: what is published, delivered, lost and healed.
pub struct Relay {
    pub publications: ByNamespace<Family<Counter, Source>>,
    pub publish_errors: Counters<(Source, PublishFailure)>,
    pub fanout_duration: Histogram,
    pub delivery_duration: ByNamespace<Histogram>,
    pub channels: ByNamespace<Gauge>,
    pub subscriptions: ByNamespace<Gauge>,
    pub recoveries: Counters<Recovery>,
    pub recovered_publications: Histogram,
    pub recovery_duration: Histograms<RecoverySource>,
    pub gaps: Counters<GapCause>,
    pub gaps_unhealed: Counters<GapCause>,
}

impl Relay {
    pub(super) fn new(registry: &Registry, namespaces: &[Arc<str>]) -> Self {
        Self {
            publications: registry.family_by_namespace(&names::PUBLICATIONS, namespaces),
            publish_errors: registry.family(&names::PUBLISH_ERRORS),
            fanout_duration: registry.one(&names::FANOUT_DURATION),
            delivery_duration: registry.by_namespace(&names::DELIVERY_DURATION, namespaces),
            channels: registry.by_namespace(&names::CHANNELS, namespaces),
            subscriptions: registry.by_namespace(&names::SUBSCRIPTIONS, namespaces),
            recoveries: registry.family(&names::RECOVERIES),
            recovered_publications: registry.one(&names::RECOVERED_PUBLICATIONS),
            recovery_duration: registry.family(&names::RECOVERY_DURATION),
            gaps: registry.family(&names::GAPS),
            gaps_unhealed: registry.family(&names::GAPS_UNHEALED),
        }
    }
}

/// Presence.
pub struct Presence {
    pub here: Gauge,
    /// What is not known to be recorded.
    pub owed: Gauge,
    /// What will never be recorded.
    pub refused: Counter,
    pub healed: Counter,
}

impl Presence {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            here: registry.one(&names::PRESENCE_MEMBERS),
            owed: registry.one(&names::PRESENCE_UNRECORDED),
            refused: registry.one(&names::PRESENCE_REFUSED),
            healed: registry.one(&names::PRESENCE_HEALED),
        }
    }
}

/// The backplane and the link to it.
pub struct Backplane {
    pub connections: Gauges<Link>,
    pub reconnects: Counter,
    pub losses: Counters<SharedState>,
    pub complaints: Counter,
    pub taken_back: Gauge,
    /// Seconds.
    pub rtt: Gauge,
    pub publish_duration: Histograms<Carriage>,
    pub pending_acks: Gauge,
    pub subscriptions: Gauge,
    pub malformed_metadata: Counter,
    pub replies_refused: Counter,
    pub stream_bytes: ByNamespace<Gauge>,
    pub stream_bytes_limit: ByNamespace<Gauge>,
    pub stream_messages: ByNamespace<Gauge>,
    pub streams_below_settings: Gauges<StreamLimit>,
    pub stream_alterations: Counters<Alteration>,
}

impl Backplane {
    /// `stored` are the namespaces with history.
    pub(super) fn new(registry: &Registry, stored: &[Arc<str>]) -> Self {
        Self {
            connections: registry.family(&names::BACKPLANE_CONNECTIONS),
            reconnects: registry.one(&names::BACKPLANE_RECONNECTS),
            losses: registry.family(&names::BACKPLANE_LOSSES),
            complaints: registry.one(&names::BACKPLANE_COMPLAINTS),
            taken_back: registry.one(&names::BACKPLANE_TAKEN_BACK),
            rtt: registry.one(&names::BACKPLANE_RTT),
            publish_duration: registry.family(&names::BACKPLANE_PUBLISH_DURATION),
            pending_acks: registry.one(&names::BACKPLANE_PENDING_ACKS),
            subscriptions: registry.one(&names::BACKPLANE_SUBSCRIPTIONS),
            malformed_metadata: registry.one(&names::BACKPLANE_MALFORMED_METADATA),
            replies_refused: registry.one(&names::BACKPLANE_REPLIES_REFUSED),
            stream_bytes: registry.by_namespace(&names::STREAM_BYTES, stored),
            stream_bytes_limit: registry.by_namespace(&names::STREAM_BYTES_LIMIT, stored),
            stream_messages: registry.by_namespace(&names::STREAM_MESSAGES, stored),
            streams_below_settings: registry.family(&names::STREAMS_BELOW_SETTINGS),
            stream_alterations: registry.family(&names::STREAM_ALTERATIONS),
        }
    }

    /// Notes what a namespace's history holds, and may.
    pub fn note_stream(&self, namespace: &str, messages: u64, bytes: u64, limit: u64) {
        self.stream_messages.of(namespace).set(messages as f64);
        self.stream_bytes.of(namespace).set(bytes as f64);
        self.stream_bytes_limit.of(namespace).set(limit as f64);
    }
}

/// The nodes, as this one knows them.
pub struct Cluster {
    pub nodes: Gauges<NodeState>,
    pub recommended_nodes: Gauge,
    pub desired_nodes: Gauge,
    pub heartbeats: Counters<Heartbeat>,
    pub verdicts: Counters<Judgement>,
    pub graces: Counter,
    pub reaps: Counters<Reaping>,
    pub orphans: Counter,
    pub rejoins: Counter,
    pub fenced: Counter,
    pub surveys: Counters<Survey>,
    pub survey_duration: Histogram,
    malformed: Counters<Topic>,
    /// Of lines about words that make no sense.
    nonsense: Pace,
}

impl Cluster {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            nodes: registry.family(&names::CLUSTER_NODES),
            recommended_nodes: registry.one(&names::CLUSTER_RECOMMENDED_NODES),
            desired_nodes: registry.one(&names::CLUSTER_DESIRED_NODES),
            heartbeats: registry.family(&names::CLUSTER_HEARTBEATS),
            verdicts: registry.family(&names::CLUSTER_VERDICTS),
            graces: registry.one(&names::CLUSTER_GRACES),
            reaps: registry.family(&names::CLUSTER_REAPS),
            orphans: registry.one(&names::CLUSTER_ORPHANS),
            rejoins: registry.one(&names::CLUSTER_REJOINS),
            fenced: registry.one(&names::CLUSTER_FENCED),
            surveys: registry.family(&names::SURVEYS),
            survey_duration: registry.one(&names::SURVEY_DURATION),
            malformed: registry.family(&names::CLUSTER_MALFORMED),
            nonsense: Pace::default(),
        }
    }

    /// Counts a word among nodes that makes no sense, and says so now and then: whoever may publish there can send as many
    /// as he likes.
    pub fn not_understood(&self, topic: Topic) {
        self.malformed.of(topic).increment(1);
        if let Some(left_out) = self.nonsense.due() {
            warn!(?topic, left_out, "a message from another node could not be parsed");
        }
    }
}

/// The bridge to servers behind Redis.
pub struct Bridge {
    pub enabled: Gauge,
    pub leading: Gauge,
    pub connected: Gauge,
    pub events: Counters<(Way, Crossing)>,
    pub requests: Counters<(BridgeRequest, Crossing)>,
    pub interruptions: Counters<Shore>,
}

impl Bridge {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            enabled: registry.one(&names::BRIDGE_ENABLED),
            leading: registry.one(&names::BRIDGE_LEADING),
            connected: registry.one(&names::BRIDGE_CONNECTED),
            events: registry.family(&names::BRIDGE_EVENTS),
            requests: registry.family(&names::BRIDGE_REQUESTS),
            interruptions: registry.family(&names::BRIDGE_INTERRUPTIONS),
        }
    }
}

/// Bounded queues.
pub struct Queues {
    pub bytes: Gauges<Queue>,
    pub overflows: Counters<Overflow>,
}

impl Queues {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { bytes: registry.family(&names::QUEUE_BYTES), overflows: registry.family(&names::QUEUE_OVERFLOWS) }
    }
}
