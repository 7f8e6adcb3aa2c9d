//! Every metric: its whole name, what it is, its unit, what it says.
//!
//! Dashboards and alerts are checked against [`ALL`].

use metrics::Unit;

/// One metric as it is declared.
#[derive(Debug)]
pub struct Metric {
    /// With prefix, unit and `_total`: nothing is appended to it.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub help: &'static str,
}

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets. A histogram without any would be exported as a summary, whose quantiles
    /// cannot be put together over nodes.
    Histogram(&'static [f64]),
}

/// From the store to the outbox, across nodes.
const DELIVERY: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Within one node.
const FANOUT: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1];
/// Requests and commands.
const REQUEST: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Lives of connections, a second to a day.
const LIFE: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];
/// Numbers of publications.
const SIZES: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

macro_rules! metrics {
    ($($constant:ident: $kind:ident $(($buckets:ident))? $name:literal $unit:ident, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind $(($buckets))?, unit: Unit::$unit, help: $help };
        )+

        /// Every metric but those of the process (`process_*`), which its library names.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    BUILD_INFO: Gauge "midplane_build_info" Count, "1, with the version that runs.";
    TASKS_LOST: Counter "midplane_tasks_lost_total" Count, "Background tasks of this node that ended although it goes on; it is not ready then, and has to be started again.";
    READY: Gauge "midplane_ready" Count, "1 while this node serves, 0 while it does not.";

    CANARY_DURATION: Histogram(DELIVERY) "midplane_canary_duration_seconds" Seconds, "From publishing a word to its delivery on the same node, through the store.";
    CANARY_FAILURES: Counter "midplane_canary_failures_total" Count, "Words not acknowledged, seconds in which acknowledged ones did not come back, and words in this node's name that it never spoke.";
    CANARY_SILENT_PEERS: Gauge "midplane_canary_silent_peers" Count, "Nodes that serve and that this node does not hear, although it hears itself.";
    CANARY_LAST_SUCCESS: Gauge "midplane_canary_last_success_timestamp_seconds" Seconds, "When a word of this node was delivered last.";
    DRAIN_REMAINING_CONNECTIONS: Gauge "midplane_drain_remaining_connections" Count, "Connections that a stopping node still waits for.";
    DRAIN_DEADLINE: Gauge "midplane_drain_deadline_timestamp_seconds" Seconds, "When a stopping node ends at the latest; 0 while it is not stopping.";
    RUNTIME_BUSY_RATIO: Gauge "midplane_runtime_busy_ratio" Count, "Part of the last seconds in which the runtime's threads were at work.";
    RUNTIME_TASKS: Gauge "midplane_runtime_tasks" Count, "Tasks that are alive: some for the node, one for each connection, those of a library.";
    RUNTIME_POLL_DELAY: Gauge "midplane_runtime_poll_delay_seconds" Seconds, "How late the runtime came to a task whose time had come.";

    CONNECTIONS: Gauge "midplane_connections" Count, "Connections of clients.";
    CONNECTIONS_LIMIT: Gauge "midplane_connections_limit" Count, "Connections that this node takes; 0 is without limit.";
    CONNECTIONS_OPENED: Counter "midplane_connections_opened_total" Count, "Connections opened.";
    CONNECTIONS_CLOSED: Counter "midplane_connections_closed_total" Count, "Connections closed, by close code.";
    CONNECTION_DURATION: Histogram(LIFE) "midplane_connection_duration_seconds" Seconds, "How long connections lived.";
    HANDSHAKES_REJECTED: Counter "midplane_handshakes_rejected_total" Count, "Handshakes turned away.";
    HANDSHAKES_INFLIGHT: Gauge "midplane_handshakes_inflight" Count, "Handshakes under way: opened, not connected yet.";
    HANDSHAKE_DURATION: Histogram(REQUEST) "midplane_handshake_duration_seconds" Seconds, "From the upgrade to the connect reply.";
    HTTP_REQUESTS: Counter "midplane_http_requests_total" Count, "HTTP requests answered.";
    HTTP_REQUEST_DURATION: Histogram(REQUEST) "midplane_http_request_duration_seconds" Seconds, "Time to answer HTTP requests.";
    HTTP_CUT: Counter "midplane_http_connections_cut_total" Count, "Connections that spoke HTTP, closed for what their clients did not do: read an answer, or ask for anything while others wanted the place.";
    RATE_LIMITED: Counter "midplane_rate_limited_total" Count, "Requests refused for coming too fast.";

    COMMANDS: Counter "midplane_commands_total" Count, "Commands of clients.";
    COMMAND_DURATION: Histogram(REQUEST) "midplane_command_duration_seconds" Seconds, "Time to handle commands.";
    SENT_MESSAGES: Counter "midplane_sent_messages_total" Count, "Messages written to clients.";
    SENT_BYTES: Counter "midplane_sent_bytes_total" Bytes, "Bytes written to clients.";
    RECEIVED_MESSAGES: Counter "midplane_received_messages_total" Count, "Messages read from clients.";
    RECEIVED_BYTES: Counter "midplane_received_bytes_total" Bytes, "Bytes read from clients.";
    PING_RTT: Histogram(REQUEST) "midplane_ping_rtt_seconds" Seconds, "From a ping to its pong.";
    OUTBOX_BYTES: Gauge "midplane_outbox_bytes" Bytes, "Bytes that wait for slow readers.";
    SLOW_CONSUMERS: Counter "midplane_slow_consumers_total" Count, "Readers that were too slow.";
    ORDERS_FAILED: Counter "midplane_orders_failed_total" Count, "Backends' subscribes that could not be done: the client was sent to connect anew.";
    AUTH: Counter "midplane_auth_total" Count, "Tokens checked.";
    USER_LIMIT: Counter "midplane_user_connection_limit_total" Count, "Connections that ended or did not begin since their user had too many.";
    REVOCATIONS: Gauge "midplane_revocations" Count, "Revocations of tokens in force, as this node knows them.";
    HOOKS: Counter "midplane_hooks_total" Count, "Hooks asked.";
    HOOK_DURATION: Histogram(REQUEST) "midplane_hook_duration_seconds" Seconds, "Time that hooks took to answer.";
    EMULATION: Counter "midplane_emulation_total" Count, "Posts of clients to sessions on streams, by what became of them.";
    SOCKETIO_UPGRADES: Counter "midplane_socketio_upgrades_total" Count, "WebSockets that were to carry a session on long-polling, by what became of them.";
    SOCKETIO_FORWARDED: Counter "midplane_socketio_forwarded_total" Count, "Requests of long-polling for sessions of other nodes, by what became of them.";
    SOCKETIO_MOVES: Counter "midplane_socketio_moves_total" Count, "Sessions that were to go on at the node of their WebSocket, by what became of that.";
    SOCKETIO_EVENTS: Counter "midplane_socketio_events_total" Count, "Events of clients of Socket.IO, by what became of them.";
    SOCKETIO_EMITS: Counter "midplane_socketio_emits_total" Count, "Events of backends for clients of Socket.IO, by what became of them at each client.";
    SOCKETIO_NOTICES: Counter "midplane_socketio_notices_total" Count, "What services were told of sockets of Socket.IO, and were not.";
    SOCKETIO_ACKS: Counter "midplane_socketio_acks_total" Count, "Acknowledgements of clients of Socket.IO, by what became of them.";
    BRIDGE_ENABLED: Gauge "midplane_bridge_enabled" Count, "1 where this node may be the bridge to the servers behind Redis.";
    BRIDGE_LEADING: Gauge "midplane_bridge_leading" Count, "1 while this node is the bridge of its cluster.";
    BRIDGE_CONNECTED: Gauge "midplane_bridge_connected" Count, "1 while it is, and is connected to Redis.";
    BRIDGE_EVENTS: Counter "midplane_bridge_events_total" Count, "Events on their way over the bridge, by what became of them.";
    BRIDGE_REQUESTS: Counter "midplane_bridge_requests_total" Count, "What servers behind Redis asked of all others, by whether it was done and answered.";
    BRIDGE_INTERRUPTIONS: Counter "midplane_bridge_interruptions_total" Count, "Times that the bridge lost one of its sides: what was sent meanwhile did not cross.";
    SOCKETIO_RETURNS: Counter "midplane_socketio_returns_total" Count, "Clients of Socket.IO that came again to have their session back, by what became of that.";
    SOCKETIO_UNWRITTEN: Counter "midplane_socketio_sessions_unwritten_total" Count, "Sessions of Socket.IO of which something could not be written: that they began (their client cannot come back), in which rooms they are (their connection ends), or that they ended (they stay as long as their node lives).";
    RPC: Counter "midplane_rpc_total" Count, "Calls of clients to backends.";
    RPC_DURATION: Histogram(REQUEST) "midplane_rpc_duration_seconds" Seconds, "Time that backends took to answer calls.";

    PUBLICATIONS: Counter "midplane_publications_total" Count, "Publications accepted.";
    PUBLISH_ERRORS: Counter "midplane_publish_errors_total" Count, "Publications that were not acknowledged.";
    FANOUT_DURATION: Histogram(FANOUT) "midplane_fanout_duration_seconds" Seconds, "From the first to the last outbox of one publication.";
    DELIVERY_DURATION: Histogram(DELIVERY) "midplane_delivery_duration_seconds" Seconds, "From the store to the outboxes; includes the difference of clocks between hosts.";
    CHANNELS: Gauge "midplane_channels" Count, "Channels with subscribers on this node.";
    SUBSCRIPTIONS: Gauge "midplane_subscriptions" Count, "Subscriptions of clients on this node.";
    RECOVERIES: Counter "midplane_recoveries_total" Count, "Recoveries that clients asked for.";
    RECOVERED_PUBLICATIONS: Histogram(SIZES) "midplane_recovered_publications" Count, "Publications that one recovery brought.";
    RECOVERY_DURATION: Histogram(REQUEST) "midplane_recovery_duration_seconds" Seconds, "Time that recoveries took.";
    GAPS: Counter "midplane_gaps_total" Count, "Times that deliveries may have been lost on their way to this node.";
    GAPS_UNHEALED: Counter "midplane_gaps_unhealed_total" Count, "Those in which clients were told to start over.";

    PRESENCE_MEMBERS: Gauge "midplane_presence_members" Count, "Clients of this node that are recorded in channels, once for each channel.";
    PRESENCE_UNRECORDED: Gauge "midplane_presence_unrecorded" Count, "Changes of presence on this node that are not recorded yet.";
    PRESENCE_REFUSED: Counter "midplane_presence_records_refused_total" Count, "Records of presence that the store refused for good, for what they say; they are left out.";
    PRESENCE_HEALED: Counter "midplane_presence_healed_total" Count, "Joins and leaves that had not arrived when this node compared what it knows with the records.";

    BACKPLANE_CONNECTIONS: Gauge "midplane_backplane_connections" Count, "Connections to the backplane.";
    BACKPLANE_RECONNECTS: Counter "midplane_backplane_reconnects_total" Count, "Times that a connection to the backplane came back.";
    BACKPLANE_LOSSES: Counter "midplane_backplane_state_losses_total" Count, "Times that what all nodes share was found lost; it was made again, and nodes wrote again what they knew.";
    BACKPLANE_COMPLAINTS: Counter "midplane_backplane_complaints_total" Count, "Errors that NATS reported, such as permissions violations.";
    BACKPLANE_TAKEN_BACK: Gauge "midplane_backplane_subscriptions_taken_back" Count, "Subscriptions that NATS once took and now refuses; they are asked for again.";
    BACKPLANE_RTT: Gauge "midplane_backplane_rtt_seconds" Seconds, "Round trip to the backplane.";
    BACKPLANE_PUBLISH_DURATION: Histogram(DELIVERY) "midplane_backplane_publish_duration_seconds" Seconds, "Time until publications were acknowledged.";
    BACKPLANE_PENDING_ACKS: Gauge "midplane_backplane_pending_acks" Count, "Publications that wait for their acknowledgement.";
    BACKPLANE_SUBSCRIPTIONS: Gauge "midplane_backplane_subscriptions" Count, "Subscriptions of this node to the backplane.";
    BACKPLANE_MALFORMED_METADATA: Counter "midplane_backplane_malformed_metadata_total" Count, "Metadata of delivered publications that was left out.";
    BACKPLANE_REPLIES_REFUSED: Counter "midplane_backplane_replies_refused_total" Count, "Requests over NATS that were not heard, since their answers would have gone to a subject that is no inbox.";

    CLUSTER_NODES: Gauge "midplane_cluster_nodes" Count, "Nodes as this one knows them, by state; failed and left ones for ten minutes.";
    CLUSTER_RECOMMENDED_NODES: Gauge "midplane_cluster_recommended_nodes" Count, "Nodes that should take clients, as this one weighs it.";
    CLUSTER_DESIRED_NODES: Gauge "midplane_cluster_desired_nodes" Count, "Nodes that somebody asked for last; 0 where nobody did.";
    CLUSTER_HEARTBEATS: Counter "midplane_cluster_heartbeats_total" Count, "Heartbeats sent, not sent, heard of live nodes, and missed from them.";
    CLUSTER_VERDICTS: Counter "midplane_cluster_verdicts_total" Count, "What came of finding a node silent for too long.";
    CLUSTER_GRACES: Counter "midplane_cluster_graces_total" Count, "Times that this node had not heard even itself for a while, and gave everybody time anew.";
    CLUSTER_REAPS: Counter "midplane_cluster_reaps_total" Count, "Removals of what ended nodes left behind.";
    CLUSTER_ORPHANS: Counter "midplane_cluster_orphans_total" Count, "Lives of nodes that had left something behind although they were cleaned up after; it is removed.";
    CLUSTER_REJOINS: Counter "midplane_cluster_rejoins_total" Count, "Times that this node was declared dead or forgotten and joined anew.";
    CLUSTER_FENCED: Counter "midplane_cluster_fenced_total" Count, "Times that this node found another process under its name.";
    CLUSTER_MALFORMED: Counter "midplane_cluster_malformed_total" Count, "Words among nodes that made no sense, by what they were to be.";
    SURVEYS: Counter "midplane_surveys_total" Count, "Questions to all nodes.";
    SURVEY_DURATION: Histogram(REQUEST) "midplane_survey_duration_seconds" Seconds, "Time that questions to all nodes took.";

    STREAM_BYTES: Gauge "midplane_stream_bytes" Bytes, "Bytes of the histories, as this node saw them last.";
    STREAM_BYTES_LIMIT: Gauge "midplane_stream_bytes_limit" Bytes, "Bytes that the histories may take; 0 is without limit.";
    STREAMS_BELOW_SETTINGS: Gauge "midplane_streams_below_settings" Count, "Streams and buckets that keep less than this node's settings say, by what is less.";
    STREAM_ALTERATIONS: Counter "midplane_stream_alterations_total" Count, "Times that a stream or bucket was found altered in what delivery and storing hang on; standing: it could not be put right, counted at every look.";
    STREAM_MESSAGES: Gauge "midplane_stream_messages" Count, "Messages in the histories, as this node saw them last.";

    QUEUE_BYTES: Gauge "midplane_queue_bytes" Bytes, "Bytes in each bounded queue.";
    QUEUE_OVERFLOWS: Counter "midplane_queue_overflows_total" Count, "Times that a bounded queue had no room.";
}
