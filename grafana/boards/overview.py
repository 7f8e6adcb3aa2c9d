"""Are people connected, does everything arrive, is anything lost?"""

from model import GREEN, RED, YELLOW, dashboard, graph, median_and_tail, nonzero_rate, rate, row, stat, table


def rows():
    yield row(
        "",
        stat("Nodes that serve", "Nodes that are ready.", "sum(midplane_ready)", steps=(RED, (1, GREEN)), graph=False),
        stat("Connections", "Clients that are connected, on all nodes.", "sum(midplane_connections)"),
        stat(
            "Capacity used",
            "Connections of the fullest node, as a part of what it takes. 0 where nodes have no limit.",
            "max(sum by (instance) (midplane_connections) / on (instance) (midplane_connections_limit > 0)) or on () vector(0)",
            "percentunit",
            (GREEN, (0.66, YELLOW), (0.8, RED)),
        ),
        stat("Published", "Publications accepted.", rate("midplane_publications_total"), "mps"),
        stat("Delivered", "Messages written to clients.", rate("midplane_sent_messages_total"), "mps"),
        stat(
            "Delivery",
            "Does a message sent now arrive? Seconds since the last test message came back, on the node that has waited longest.",
            "max(time() - (midplane_canary_last_success_timestamp_seconds > 0))",
            "s",
            (GREEN, (7, YELLOW), (9, RED)),
        ),
        stat(
            "Losses told",
            "Times in the chosen range that clients were told that they missed something. 0 is what is promised with history.",
            "sum(increase(midplane_gaps_unhealed_total[$__range]))",
            steps=(GREEN, (0.5, RED)),
            graph=False,
            decimals=0,
        ),
        stat(
            "Links to NATS down",
            "Connections to NATS that nodes should have and do not have.",
            'sum(midplane_backplane_connections{state="disconnected"})',
            steps=(GREEN, (1, RED)),
            graph=False,
        ),
    )
    yield row(
        "Connections",
        graph(
            "Connections by node",
            "How many clients each node carries.",
            [("{{instance}}", "sum by (instance) (midplane_connections)")],
            stacked=True,
        ),
        graph(
            "Opened and closed",
            "Connections opened and closed a second. Both high for long: clients that reconnect again and again.",
            [("opened", rate("midplane_connections_opened_total")), ("closed", rate("midplane_connections_closed_total"))],
            "ops",
        ),
        graph(
            "Why they closed",
            "By close code. 3001: the node stopped. 3008: too slow. 3012: no answer to a ping. 1006, 1001: gone without a word.",
            [("{{code}}", nonzero_rate("midplane_connections_closed_total", "code"))],
            "ops",
        ),
        graph(
            "Time to connect",
            "From the upgrade to the answer to connect.",
            median_and_tail("midplane_handshake_duration_seconds"),
            "s",
        ),
        graph(
            "Turned away",
            "Handshakes refused, by reason.",
            [("{{reason}}", rate("midplane_handshakes_rejected_total", "reason"))],
            "ops",
        ),
        graph(
            "Capacity used by node",
            "Connections as a part of what each node takes. Of three nodes none should be above two thirds: one may die.",
            [
                (
                    "{{instance}}",
                    "sum by (instance) (midplane_connections) / on (instance) (midplane_connections_limit > 0) "
                    'or on () label_replace(vector(0), "instance", "no limit", "", "")',
                )
            ],
            "percentunit",
            most=1,
            line=0.8,
        ),
    )
    yield row(
        "Delivery",
        graph(
            "Published",
            "Publications accepted, by who published.",
            [("{{source}}", rate("midplane_publications_total", "source"))],
            "mps",
            stacked=True,
        ),
        graph(
            "Delivered",
            "Messages written to clients, by node.",
            [("{{instance}}", rate("midplane_sent_messages_total", "instance"))],
            "mps",
            stacked=True,
        ),
        graph(
            "From store to outbox",
            "How long stored publications take to the outboxes of clients. Includes the difference of clocks between hosts.",
            median_and_tail("midplane_delivery_duration_seconds"),
            "s",
        ),
        graph(
            "A message sent now",
            "From publishing a test message to its delivery on the same node, through the store, on one clock.",
            median_and_tail("midplane_canary_duration_seconds"),
            "s",
            width=6,
            line=1,
        ),
        graph(
            "Test messages that failed",
            "unpublished: the store did not acknowledge. undelivered: it did, and nothing came.",
            [("{{reason}}", rate("midplane_canary_failures_total", "reason"))],
            "ops",
            width=6,
        ),
        graph(
            "Nodes not heard",
            "Nodes that serve and that a node does not hear, although it hears itself. 0 unless something is cut.",
            [("{{instance}}", "midplane_canary_silent_peers")],
            width=6,
        ),
        graph(
            "Since the last test message",
            "Seconds since a node heard its own. More than 9: nothing is delivered.",
            [("{{instance}}", "time() - (midplane_canary_last_success_timestamp_seconds > 0)")],
            "s",
            width=6,
        ),
    )
    yield row(
        "Loss and recovery",
        graph(
            "Gaps",
            "Times that deliveries may have been lost on their way to a node, by cause. They are healed from history.",
            [("{{cause}}", rate("midplane_gaps_total", "cause"))],
            "ops",
        ),
        graph(
            "Told to clients",
            "Those that could not be healed, and publications that were not acknowledged.",
            [
                ("lost ({{cause}})", rate("midplane_gaps_unhealed_total", "cause")),
                ("not acknowledged", rate('midplane_publish_errors_total{reason=~"unavailable|unknown"}')),
            ],
            "ops",
        ),
        graph(
            "Recoveries",
            "What clients that came back were told, by result.",
            [("{{result}}", rate("midplane_recoveries_total", "result"))],
            "ops",
        ),
    )
    yield row(
        "Cluster",
        graph(
            "Nodes",
            "By state. Each node counts for itself; this is the highest count, and the lowest of those that are up. They differ while nodes disagree. recommended: by load. desired: asked for; 0 when nothing was.",
            [
                ("{{state}}", "max by (state) (midplane_cluster_nodes)"),
                ("up, lowest count", 'min(midplane_cluster_nodes{state="up"})'),
                ("recommended", "max(midplane_cluster_recommended_nodes)"),
                ("desired", "max(midplane_cluster_desired_nodes)"),
            ],
        ),
        table(
            "Nodes now",
            "Each node with its version and load.",
            [
                ("build", "short", "midplane_build_info"),
                ("ready", "short", "midplane_ready"),
                ("connections", "short", "sum by (instance) (midplane_connections)"),
                ("busy", "percentunit", "midplane_runtime_busy_ratio"),
                ("memory", "bytes", "process_resident_memory_bytes"),
                ("up for", "s", "time() - process_start_time_seconds"),
            ],
            width=16,
            height=8,
        ),
    )


def board():
    return dashboard("overview", "Overview", __doc__, *rows())
