"""The link to NATS, what is stored there, and how the nodes see each other through it."""

from model import GREEN, RED, YELLOW, dashboard, graph, heatmap, quantile, rate, row, stat

BY_NODE = "{{instance}}"


def rows():
    yield row(
        "",
        stat(
            "Links up",
            "Connections of nodes to NATS; each has four.",
            'sum(midplane_backplane_connections{state="connected"})',
            graph=False,
            width=4,
        ),
        stat(
            "Links down",
            "Those that are missing.",
            'sum(midplane_backplane_connections{state="disconnected"})',
            steps=(GREEN, (1, RED)),
            graph=False,
            width=4,
        ),
        stat(
            "Round trip",
            "To NATS, from the node that is farthest away.",
            "max(midplane_backplane_rtt_seconds)",
            "s",
            (GREEN, (0.05, YELLOW), (0.5, RED)),
            width=4,
        ),
        stat(
            "Stored within",
            "99 of 100 publications are acknowledged within this time.",
            quantile(0.99, 'midplane_backplane_publish_duration_seconds{kind="stream"}'),
            "s",
            (GREEN, (0.1, YELLOW), (1, RED)),
            width=4,
        ),
        stat(
            "Fullest stream",
            "Part of what a namespace's history may take. 0 without limit.",
            "max(midplane_stream_bytes / (midplane_stream_bytes_limit > 0)) or on () vector(0)",
            "percentunit",
            (GREEN, (0.7, YELLOW), (0.85, RED)),
            width=4,
        ),
        stat("Stored", "Publications in the histories.", "sum(max by (namespace) (midplane_stream_messages))", width=4),
    )
    yield row(
        "Link",
        graph(
            "Connections",
            "Of each node, by state.",
            [(BY_NODE + " {{state}}", "sum by (instance, state) (midplane_backplane_connections)")],
        ),
        graph(
            "Reconnects",
            "Connections that came back.",
            [(BY_NODE, rate("midplane_backplane_reconnects_total", "instance"))],
            "ops",
        ),
        graph(
            "State that was lost",
            "Streams of what all nodes share that somebody deleted. They are made again; what nodes knew is written again.",
            [("{{state}}", 'sum by (state) (increase(midplane_backplane_state_losses_total[$__rate_interval]))')],
        ),
        graph(
            "Complaints of NATS",
            "Errors that it reported, and subscriptions that it has taken back: they are asked for again.",
            [
                ("errors " + BY_NODE, rate("midplane_backplane_complaints_total", "instance")),
                ("taken back " + BY_NODE, "midplane_backplane_subscriptions_taken_back"),
            ],
        ),
        graph("Round trip", "Measured every ten seconds.", [(BY_NODE, "midplane_backplane_rtt_seconds")], "s"),
        graph(
            "Subscriptions",
            "Of each node: one for each channel with subscribers.",
            [(BY_NODE, "midplane_backplane_subscriptions")],
        ),
        graph("Waiting for acknowledgement", "Publications under way.", [(BY_NODE, "midplane_backplane_pending_acks")]),
        graph(
            "Publications without room",
            "Refused, since too many wait for their acknowledgement.",
            [(BY_NODE, rate('midplane_queue_overflows_total{queue="publish"}', "instance"))],
            "ops",
        ),
    )
    yield row(
        "Publishing",
        graph(
            "Time to publish",
            "99 of 100 take no longer. core: handed over. stream: stored and acknowledged.",
            [("{{kind}}", quantile(0.99, "midplane_backplane_publish_duration_seconds", "kind"))],
            "s",
        ),
        heatmap(
            "How it is spread", "Time until publications were acknowledged.", "midplane_backplane_publish_duration_seconds"
        ),
        graph(
            "Metadata left out, calls not heard",
            "Headers of publications from NATS that make no sense; calls whose answers would go to a subject that is no inbox.",
            [
                ("metadata " + BY_NODE, rate("midplane_backplane_malformed_metadata_total", "instance")),
                ("calls " + BY_NODE, rate("midplane_backplane_replies_refused_total", "instance")),
            ],
            "ops",
        ),
    )
    yield row(
        "Streams",
        graph(
            "Bytes",
            "Of each namespace's history, as nodes saw them last.",
            [("{{namespace}}", "max by (namespace) (midplane_stream_bytes)")],
            "bytes",
            width=6,
        ),
        graph(
            "Limit",
            "Bytes that each may take; at the limit the oldest publications give way. 0 is without limit.",
            [("{{namespace}}", "max by (namespace) (midplane_stream_bytes_limit)")],
            "bytes",
            width=6,
        ),
        graph(
            "Publications",
            "In each namespace's history.",
            [("{{namespace}}", "max by (namespace) (midplane_stream_messages)")],
            width=6,
        ),
        graph(
            "Less than settings say",
            "Streams and buckets that keep less than a node wants: copies, publications of a channel (depth), age, bytes.",
            [("{{limit}}", "max by (limit) (midplane_streams_below_settings)")],
            width=6,
        ),
        graph(
            "Altered by hand",
            "Streams and buckets found altered in what delivery and storing hang on. Standing: nodes may not put it right, and are not ready.",
            [("{{result}}", rate("midplane_stream_alterations_total", "result"))],
            "ops",
            width=6,
        ),
    )
    yield row(
        "Nodes among each other",
        graph(
            "Live nodes, as each sees them",
            "They differ while nodes disagree.",
            [(BY_NODE, 'midplane_cluster_nodes{state="up"}')],
        ),
        graph(
            "Heartbeats",
            "sent, unsent: its own. heard, missed: those of others.",
            [("{{result}}", rate("midplane_cluster_heartbeats_total", "result"))],
            "ops",
        ),
        graph(
            "Verdicts",
            "On nodes that were silent for too long: failed, or why not.",
            [("{{result}}", rate("midplane_cluster_verdicts_total", "result"))],
            "ops",
        ),
        graph(
            "Own troubles",
            "paused: it had not heard even itself. rejoined: others took it for dead. fenced: another process has its name.",
            [
                ("paused " + BY_NODE, rate("midplane_cluster_graces_total", "instance")),
                ("rejoined " + BY_NODE, rate("midplane_cluster_rejoins_total", "instance")),
                ("fenced " + BY_NODE, rate("midplane_cluster_fenced_total", "instance")),
            ],
            "ops",
            width=6,
        ),
        graph(
            "Cleaning up",
            "Removals of what dead nodes left behind. late: what came after the removal, and is removed as well.",
            [("{{result}}", rate("midplane_cluster_reaps_total", "result")), ("late", rate("midplane_cluster_orphans_total"))],
            "ops",
            width=6,
        ),
        graph(
            "Nonsense",
            "Words among nodes that made no sense: a version that says more, or somebody else who publishes there.",
            [("{{topic}}", rate("midplane_cluster_malformed_total", "topic"))],
            "ops",
        ),
        graph(
            "Questions to all nodes",
            "What came of them.",
            [("{{result}}", rate("midplane_surveys_total", "result"))],
            "ops",
            width=6,
        ),
        graph(
            "Time until all answered",
            "99 of 100 take no longer.",
            [("99 of 100", quantile(0.99, "midplane_survey_duration_seconds"))],
            "s",
            width=6,
        ),
    )


def board():
    return dashboard("nats", "NATS", __doc__, *rows())
