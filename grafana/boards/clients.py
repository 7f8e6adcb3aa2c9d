"""Who is let in and who is not, what runs into a limit, and how the application's backends answer."""

from model import GREEN, RED, YELLOW, dashboard, graph, nonzero_rate, quantile, rate, row, stat


def part(of, all_of):
    """How much of `all_of` is `of`; 0 where there is none of either."""
    return f"{rate(of)} / ({rate(all_of)} > 0) or on () vector(0)"


def rows():
    yield row(
        "",
        stat(
            "Turned away",
            "Handshakes a second that nodes refused.",
            rate("midplane_handshakes_rejected_total"),
            "ops",
            (GREEN, (1, YELLOW)),
            width=4,
        ),
        stat(
            "Tokens refused",
            "Part of all that were checked.",
            part('midplane_auth_total{result!="ok"}', "midplane_auth_total"),
            "percentunit",
            (GREEN, (0.05, YELLOW), (0.2, RED)),
            width=4,
        ),
        stat(
            "Too fast",
            "Requests a second that were refused for it.",
            rate("midplane_rate_limited_total"),
            "ops",
            (GREEN, (1, YELLOW)),
            width=4,
        ),
        stat("Revocations", "In force.", "max(midplane_revocations)", graph=False, width=4),
        stat(
            "Hooks without answer",
            "Part of all that were asked.",
            part('midplane_hooks_total{result=~"timeout|no_responder|unreachable|bad_answer"}', "midplane_hooks_total"),
            "percentunit",
            (GREEN, (0.01, YELLOW), (0.05, RED)),
            width=4,
        ),
        stat(
            "Calls without answer",
            "Part of all calls of clients to services.",
            part('midplane_rpc_total{result=~"no_responder|timeout"}', "midplane_rpc_total"),
            "percentunit",
            (GREEN, (0.01, YELLOW), (0.05, RED)),
            width=4,
        ),
    )
    yield row(
        "Letting in",
        graph(
            "Handshakes turned away",
            "By reason.",
            [("{{reason}}", rate("midplane_handshakes_rejected_total", "reason"))],
            "ops",
            width=6,
        ),
        graph("Tokens", "What checking them said.", [("{{result}}", rate("midplane_auth_total", "result"))], "ops", width=6),
        graph(
            "Too fast",
            "Refused by a limit: of handshakes and posts from one address, of one connection's commands and bytes, of one user's connects and commands, of the server API.",
            [("{{scope}}", rate("midplane_rate_limited_total", "scope"))],
            "ops",
            width=6,
        ),
        graph(
            "Users with too many connections",
            "Connections that were refused for it or gave way, and those of which nobody could tell for the moment.",
            [("{{result}}", rate("midplane_user_connection_limit_total", "result"))],
            "ops",
            width=6,
        ),
        graph(
            "HTTP connections cut",
            "unread: the client read nothing of an answer for http.write_timeout. displaced: it had asked for nothing longest, and all places were taken.",
            [("{{reason}}", rate("midplane_http_connections_cut_total", "reason"))],
            "ops",
        ),
        graph(
            "Connections and limit",
            "Of each node.",
            [
                ("{{instance}}", "sum by (instance) (midplane_connections)"),
                ("limit of {{instance}}", "midplane_connections_limit"),
            ],
        ),
        graph(
            "Sent away",
            "Closed for good by a backend, a setting or a mistake of the client (3500 to 3509), or for lack of a valid token (3005).",
            [("{{code}}", nonzero_rate('midplane_connections_closed_total{code=~"35..|3005"}', "code"))],
            "ops",
        ),
        graph(
            "Slow readers",
            "closed, lost: they lose their connection or their place. conflated, parked, recovered: their namespace helps them.",
            [("{{action}}", rate("midplane_slow_consumers_total", "action"))],
            "ops",
        ),
        graph(
            "Subscribes of backends that failed",
            "Their clients were sent to connect anew (3010).",
            [("{{instance}}", nonzero_rate("midplane_orders_failed_total", "instance"))],
            "ops",
        ),
    )
    yield row(
        "Hooks and calls",
        graph(
            "Hooks",
            "What came of asking them.",
            [("{{hook}}: {{result}}", nonzero_rate("midplane_hooks_total", "hook, result"))],
            "ops",
            width=12,
        ),
        graph(
            "Time to answer",
            "99 of 100 take no longer.",
            [("{{hook}}", quantile(0.99, "midplane_hook_duration_seconds", "hook"))],
            "s",
            width=12,
        ),
        graph(
            "Calls to services", "What came of them.", [("{{result}}", rate("midplane_rpc_total", "result"))], "ops", width=12
        ),
        graph(
            "Time to answer calls",
            "99 of 100 take no longer.",
            [("{{result}}", quantile(0.99, "midplane_rpc_duration_seconds", "result"))],
            "s",
            width=12,
        ),
    )
    yield row(
        "HTTP",
        graph(
            "Requests",
            "By what they were for.",
            [("{{route}}", rate("midplane_http_requests_total", "route"))],
            "reqps",
            stacked=True,
        ),
        graph(
            "Not ok",
            "Answered with 400 or above.",
            [("{{route}}: {{status}}", nonzero_rate('midplane_http_requests_total{status=~"4xx|5xx"}', "route, status"))],
            "reqps",
        ),
        graph(
            "Time to answer",
            "99 of 100 take no longer. Connections have durations of their own.",
            [("{{route}}", quantile(0.99, "midplane_http_request_duration_seconds", "route"))],
            "s",
        ),
        graph(
            "Posts of clients on streams",
            "What became of them. unknown_session, unknown_node: the session had ended.",
            [("{{result}}", rate("midplane_emulation_total", "result"))],
            "ops",
            width=12,
        ),
        graph(
            "Time to connect",
            "From the upgrade to the answer to connect.",
            [("{{protocol}}", quantile(0.99, "midplane_handshake_duration_seconds", "protocol"))],
            "s",
            width=12,
        ),
    )
    yield row(
        "Socket.IO",
        graph(
            "Events of clients",
            "What became of them. no_responder, timeout, failed: no service heard of them; not_in_room, forbidden: rules say no.",
            [("{{result}}", rate("midplane_socketio_events_total", "result"))],
            "ops",
        ),
        graph(
            "Events of backends",
            "What became of them at each client. dropped: volatile, and something waited; overflow: the client read too slowly and is closed.",
            [("{{result}}", rate("midplane_socketio_emits_total", "result"))],
            "ops",
        ),
        graph(
            "Services told of sockets",
            "That they come, go, enter rooms and leave them. failed: NATS was away, and nobody was told.",
            [("{{event}}: {{result}}", rate("midplane_socketio_notices_total", "event, result"))],
            "ops",
        ),
        graph(
            "Acknowledgements of clients",
            "What became of those that backends asked for. late: nobody waited any more; failed: NATS was away.",
            [("{{result}}", rate("midplane_socketio_acks_total", "result"))],
            "ops",
        ),
        graph(
            "Clients that come back",
            "Whether they have their session again. unknown: its time is over, or nobody has it; doubtful, unproven: a hole was being healed; gone, too_much: what they missed cannot be had.",
            [("{{result}}", rate("midplane_socketio_returns_total", "result"))],
            "ops",
        ),
        graph(
            "Sessions that are not written",
            "begin: those clients cannot come back; rooms: their connections end; end: what stands there goes when its node does. NATS was away.",
            [("{{what}}", rate("midplane_socketio_sessions_unwritten_total", "what"))],
            "ops",
        ),
        graph(
            "Sessions that change to a WebSocket",
            "What became of the WebSockets. failed, timeout: the session goes on by long-polling. surplus: it had another.",
            [("{{result}}", rate("midplane_socketio_upgrades_total", "result"))],
            "ops",
        ),
        graph(
            "Requests for sessions of other nodes",
            "What became of long-polling that went over NATS. unknown_session, unknown_node: the session had ended; busy: too many wait at its node; timeout, unavailable: NATS or its node hangs. Those clients come again.",
            [("{{result}}", rate("midplane_socketio_forwarded_total", "result"))],
            "ops",
            width=12,
        ),
        graph(
            "Sessions that move to the node of their WebSocket",
            "What became of them. refused: the first node did not let go, or was gone; failed: they could not go on. Those clients come again.",
            [("{{result}}", rate("midplane_socketio_moves_total", "result"))],
            "ops",
            width=12,
        ),
    )
    yield row(
        "The bridge to Redis",
        graph(
            "Who is the bridge",
            "leading: the node that is. connected: it reaches Redis as well. Neither where no node is one.",
            [
                ("{{instance}} leading", "midplane_bridge_leading"),
                ("{{instance}} connected", "midplane_bridge_connected"),
            ],
            "short",
        ),
        graph(
            "Events that cross",
            "What became of them. in: from the servers behind Redis; out: to them. away: Redis was away, and they are lost.",
            [("{{way}}: {{result}}", rate("midplane_bridge_events_total", "way, result"))],
            "ops",
        ),
        graph(
            "What servers behind Redis ask",
            "Whether nodes did it, and it was answered.",
            [("{{request}}: {{result}}", rate("midplane_bridge_requests_total", "request, result"))],
            "ops",
        ),
        graph(
            "Losses of a side",
            "Times that the bridge lost Redis, or may have missed something of NATS.",
            [("{{side}}", rate("midplane_bridge_interruptions_total", "side"))],
            "ops",
            width=12,
        ),
    )


def board():
    return dashboard("clients", "Clients and limits", __doc__, *rows())
