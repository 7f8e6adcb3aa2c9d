//! The closed sets that labels come from.

mod close_code;

pub use self::close_code::CloseCode;
use crate::backplane::GapCause;
use crate::protocol::centrifuge::{Encoding, Format};
use crate::settings::SocketIoNotice;

/// One value of a closed set.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`index`](Self::index).
    const ALL: &'static [Self];

    /// The label's value.
    fn value(self) -> &'static str;

    /// Its place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[$meta:meta])* $name:ident($label:literal) { $($variant:ident = $value:literal),+ $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// What carries a connection.
    Transport("transport") {
        WebSocket = "websocket", HttpStream = "http_stream", Sse = "sse", UniWebSocket = "uni_websocket",
        UniHttpStream = "uni_http_stream", UniSse = "uni_sse", SocketIo = "socketio",
    }

    /// How a connection's messages are encoded.
    Protocol("protocol") { Json = "json", Protobuf = "protobuf", SocketIo = "socketio" }

    /// What became of an event of a client of Socket.IO; told is also acknowledged where that was asked for.
    EventResult("result") {
        Told = "told", Relayed = "relayed", NotInRoom = "not_in_room", NoResponder = "no_responder",
        Timeout = "timeout", Failed = "failed", BadAnswer = "bad_answer", Joined = "joined", Left = "left",
        Forbidden = "forbidden",
    }

    /// What became of an event of a backend for one client of Socket.IO.
    EmitResult("result") {
        Queued = "queued", Dropped = "dropped", Overflow = "overflow", Gone = "gone",
    }

    /// What became of a client that came again and named its session: it has it back, or why not. The session is not known
    /// (any more), is another user's, somebody else has it or takes it; its offset is none, doubtful, or of another epoch; it has left
    /// rooms with events that it may not have got; it is not known that nothing is missing, what is missing is gone, is too much, is
    /// not understood by this node; or the backplane did not answer.
    Returned("result") {
        Recovered = "recovered", Unknown = "unknown", Identity = "identity", Taken = "taken", Offset = "offset",
        Doubtful = "doubtful", Epoch = "epoch", Unproven = "unproven", Gone = "gone", TooMuch = "too_much",
        NotUnderstood = "not_understood", Left = "left", Unavailable = "unavailable",
    }

    /// What is not written of a session.
    Unwritten("what") { Begin = "begin", Rooms = "rooms", End = "end" }

    /// What services are told of a socket.
    Notice("event") {
        Connect = "connect", Disconnect = "disconnect", Join = "join", Leave = "leave", Create = "create",
        Delete = "delete",
    }

    /// What became of that.
    NoticeResult("result") { Told = "told", Failed = "failed" }

    /// What became of a client's acknowledgement.
    AckResult("result") { Told = "told", Late = "late", Failed = "failed" }

    /// What became of a WebSocket that was to carry a session on long-polling.
    Upgrade("result") { Done = "done", Failed = "failed", Timeout = "timeout", Surplus = "surplus" }

    /// Why the connection of somebody who speaks HTTP was closed.
    Cut("reason") { Unread = "unread", Displaced = "displaced" }

    /// Why a handshake was turned away.
    Rejection("reason") {
        Capacity = "capacity", Draining = "draining", NotReady = "not_ready", Origin = "origin",
        RateLimit = "rate_limit", Auth = "auth", BadRequest = "bad_request", UserLimit = "user_limit",
        Busy = "busy",
    }

    /// What a client asked for.
    Command("command") {
        Connect = "connect", Subscribe = "subscribe", Unsubscribe = "unsubscribe", Publish = "publish",
        Presence = "presence", PresenceStats = "presence_stats", History = "history", Ping = "ping", Send = "send",
        Rpc = "rpc", Refresh = "refresh", SubRefresh = "sub_refresh", Pong = "pong", Malformed = "malformed",
    }

    /// What became of a command.
    Outcome("result") { Ok = "ok", Error = "error", Disconnect = "disconnect" }

    /// Who published.
    Source("source") { Client = "client", Http = "http", Nats = "nats", Bridge = "bridge" }

    /// Which way something goes over the bridge: into this cluster, or out of it.
    Way("way") { In = "in", Out = "out" }

    /// What became of an event on its way over the bridge: passed on, larger than is read, no message of the other side, nothing
    /// that this or the other side can carry, refused or unanswered where it was to go, or lost while the other side was away.
    Crossing("result") {
        Passed = "passed", TooLarge = "too_large", Malformed = "malformed", Unfit = "unfit", Failed = "failed", Away = "away",
    }

    /// What a server behind Redis asks of all others.
    BridgeRequest("request") {
        Sockets = "sockets", Rooms = "rooms", Join = "join", Leave = "leave", Disconnect = "disconnect", Fetch = "fetch",
        ServerSide = "server_side", Broadcast = "broadcast",
    }

    /// A side of the bridge.
    Shore("side") { Redis = "redis", Backplane = "backplane" }

    /// Why a publication was not acknowledged.
    PublishFailure("reason") {
        Unavailable = "unavailable", Unknown = "unknown", TooLarge = "too_large", Refused = "refused",
    }

    /// What was done with a reader that is too slow.
    SlowAction("action") {
        Closed = "closed", Conflated = "conflated", Parked = "parked", Recovered = "recovered", Lost = "lost",
    }

    /// What came of a user's having too many connections; unknown where nobody could tell.
    UserLimit("result") { Refused = "refused", Replaced = "replaced", Unknown = "unknown" }

    /// A bounded queue.
    Queue("queue") { Feed = "feed" }

    /// A bounded queue that can run over: what waits for a channel's healing is read again from history, a publication
    /// that finds no place is refused, clients that find none to connect or recover come again, a question to all nodes of
    /// which an answer finds none is said to be answered in part only, operators who watch are told that they have missed
    /// something, a call that waits for acknowledgements is answered without one that finds none, a session of which too
    /// much is asked connects anew, word of other nodes that finds none is lost, what finds none on its way over a
    /// bridge does not come to the other side, clients on long-polling at other nodes come anew, and what is given up of
    /// sessions at other nodes ends there by itself.
    Overflow("queue") {
        Healing = "healing", Publish = "publish", Connect = "connect", Recovery = "recovery", Survey = "survey",
        Watch = "watch", Acks = "acks", Word = "word", Controls = "controls", Bridge = "bridge",
        Polls = "polls", GivenUp = "given_up",
    }

    /// How a recovery ended.
    Recovery("result") {
        Full = "full", Empty = "empty", RefusedEpoch = "refused_epoch", RefusedGap = "refused_gap",
        RefusedLimit = "refused_limit", Error = "error",
    }

    /// Where recovered messages came from.
    RecoverySource("source") { Tail = "tail", Stream = "stream" }

    /// What became of a stream that somebody altered.
    Alteration("result") { PutRight = "put_right", Standing = "standing" }

    /// The link to the backplane.
    Link("state") { Connected = "connected", Disconnected = "disconnected" }

    /// How the backplane carries a publication.
    Carriage("kind") { Core = "core", Stream = "stream" }

    /// What bounds how much, and how safely, a stream keeps.
    StreamLimit("limit") {
        Replicas = "replicas", Depth = "depth", Age = "age", Bytes = "bytes", Messages = "messages", Ids = "ids",
    }

    /// What the check of a token said.
    Verdict("result") {
        Ok = "ok", Expired = "expired", NotYetValid = "not_yet_valid", Signature = "signature",
        UnknownKey = "unknown_key", Audience = "audience", Issuer = "issuer", Revoked = "revoked",
        Malformed = "malformed", Unavailable = "unavailable",
    }

    /// What somebody showed who may not call the server API; for the log only.
    Shown("shown") { Nothing = "nothing", Key = "key", Token = "token" }

    /// What a rate limit is for.
    LimitScope("scope") {
        HandshakeIp = "handshake_ip", Connection = "connection", ConnectionBytes = "connection_bytes", Api = "api",
        Emulation = "emulation", UserConnect = "user_connect", User = "user",
    }

    /// What an HTTP request was for.
    Route("route") {
        Connection = "connection", SocketIo = "socketio", Emulation = "emulation", Api = "api", Cluster = "cluster", Health = "health", Ready = "ready", Metrics = "metrics",
        Demo = "demo", Console = "console", Other = "other",
    }

    /// How the delivery canary fails.
    CanaryFailure("reason") { Unpublished = "unpublished", Undelivered = "undelivered", Forged = "forged" }

    /// An HTTP method.
    Method("method") { Get = "get", Post = "post", Other = "other" }

    /// The class of an HTTP status.
    StatusClass("status") {
        Informational = "1xx", Success = "2xx", Redirection = "3xx", ClientError = "4xx", ServerError = "5xx",
    }

    /// What a hook is asked about.
    HookEvent("hook") {
        Connect = "connect", Refresh = "refresh", Subscribe = "subscribe", Publish = "publish",
        SubRefresh = "sub_refresh",
    }

    /// What came of asking a hook: one of its three verdicts, or why there is none.
    HookResult("result") {
        Result = "result", Error = "error", Disconnect = "disconnect", Timeout = "timeout",
        NoResponder = "no_responder", Unreachable = "unreachable", BadAnswer = "bad_answer",
    }

    /// What became of something that a client posted to its session.
    Posted("result") {
        Here = "here", Forwarded = "forwarded", UnknownNode = "unknown_node", UnknownSession = "unknown_session",
        Busy = "busy", Timeout = "timeout", Unavailable = "unavailable",
    }

    /// What became of a request of a client whose session is at another node.
    Forwarded("result") {
        Done = "done", Moved = "moved", Closed = "closed", UnknownSession = "unknown_session",
        UnknownNode = "unknown_node", Busy = "busy", TooLarge = "too_large", Timeout = "timeout", Unavailable = "unavailable",
    }

    /// What became of taking a session to the node of its WebSocket. refused: its node did not let it go, or was gone.
    Moving("result") { Done = "done", Refused = "refused", Failed = "failed" }

    /// What a word among nodes is.
    Topic("topic") {
        Heartbeat = "heartbeat", Question = "question", Answer = "answer", Control = "control", Watch = "watch",
        Post = "post", Census = "census", Emit = "emit", Ack = "ack",
        Session = "session",
    }

    /// What a stream holds that all nodes share.
    SharedState("state") {
        Generations = "generations", Nodes = "nodes", Revocations = "revocations", Scaling = "scaling",
        Presence = "presence", Sessions = "sessions",
    }

    /// How a node of the cluster is.
    NodeState("state") { Up = "up", Draining = "draining", Failed = "failed", Left = "left" }

    /// What became of a heartbeat.
    Heartbeat("result") { Sent = "sent", Unsent = "unsent", Heard = "heard", Missed = "missed" }

    /// What came of finding a node silent: declared dead, another was faster, it had given a sign of life, or this node is
    /// not well enough to judge.
    Judgement("result") {
        Failed = "failed", Overtaken = "overtaken", Spared = "spared", Withheld = "withheld",
    }

    /// What became of removing what an ended node left behind.
    Reaping("result") { Done = "done", Failed = "failed", TakenOver = "taken_over" }

    /// What became of a question to all nodes.
    Survey("result") {
        Complete = "complete", Silent = "silent", NotUnderstood = "not_understood", TooLarge = "too_large",
        Partial = "partial", Unavailable = "unavailable",
    }

    /// What a backend answered to an `rpc`.
    RpcResult("result") { Ok = "ok", Error = "error", NoResponder = "no_responder", Timeout = "timeout" }
}

impl From<SocketIoNotice> for Notice {
    fn from(notice: SocketIoNotice) -> Self {
        match notice {
            SocketIoNotice::Connect => Self::Connect,
            SocketIoNotice::Disconnect => Self::Disconnect,
            SocketIoNotice::Join => Self::Join,
            SocketIoNotice::Leave => Self::Leave,
            SocketIoNotice::Create => Self::Create,
            SocketIoNotice::Delete => Self::Delete,
        }
    }
}

impl From<Format> for Transport {
    fn from(format: Format) -> Self {
        match format {
            Format::WebSocketJson
            | Format::WebSocketProtobuf
            | Format::DeflatedJson(_)
            | Format::DeflatedProtobuf(_) => Self::WebSocket,
            Format::HttpStreamJson | Format::HttpStreamProtobuf => Self::HttpStream,
            Format::Sse => Self::Sse,
            Format::UniWebSocket | Format::DeflatedUni(_) => Self::UniWebSocket,
            Format::UniHttpStream => Self::UniHttpStream,
            Format::UniSse => Self::UniSse,
            Format::SocketIo => Self::SocketIo,
        }
    }
}

impl From<Format> for Protocol {
    fn from(format: Format) -> Self {
        match (format, format.encoding()) {
            (Format::SocketIo, _) => Self::SocketIo,
            (_, Encoding::Json) => Self::Json,
            (_, Encoding::Protobuf) => Self::Protobuf,
        }
    }
}

impl StatusClass {
    /// The class of `status`.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            0..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

impl Label for GapCause {
    const NAME: &'static str = "cause";
    const ALL: &'static [Self] = &Self::ALL;

    fn value(self) -> &'static str {
        self.label()
    }

    fn index(self) -> usize {
        self as usize
    }
}
