"""What is published, how it arrives, what is lost on the way and found again."""

from model import dashboard, graph, heatmap, median_and_tail, quantile, rate, row


def rows():
    yield row(
        "Publishing",
        graph(
            "Published by namespace",
            "Publications accepted.",
            [("{{namespace}}", rate("midplane_publications_total", "namespace"))],
            "mps",
            stacked=True,
        ),
        graph(
            "Published by source",
            "Who publishes: clients, backends over HTTP or NATS. What is published straight into NATS passes no node, and is not counted.",
            [("{{source}}", rate("midplane_publications_total", "source"))],
            "mps",
        ),
        graph(
            "Not acknowledged",
            "Publications refused or without an answer. unavailable, unknown: NATS. too_large, refused: what was published.",
            [("{{source}}: {{reason}}", rate("midplane_publish_errors_total", "source, reason"))],
            "ops",
        ),
    )
    yield row(
        "Delivering",
        heatmap(
            "From store to outbox",
            "How long stored publications take to the outboxes of clients. Includes the difference of clocks.",
            "midplane_delivery_duration_seconds",
        ),
        graph(
            "From store to outbox by namespace",
            "99 of 100 take no longer.",
            [("{{namespace}}", quantile(0.99, "midplane_delivery_duration_seconds", "namespace"))],
            "s",
        ),
        graph(
            "Fan-out on a node",
            "From the first to the last outbox of one publication.",
            median_and_tail("midplane_fanout_duration_seconds"),
            "s",
        ),
        graph(
            "Channels",
            "Channels with subscribers, once for each node.",
            [("{{namespace}}", "sum by (namespace) (midplane_channels)")],
        ),
        graph("Subscriptions", "Subscriptions of clients.", [("{{namespace}}", "sum by (namespace) (midplane_subscriptions)")]),
        graph(
            "Messages for one publication",
            "Messages written to clients for each publication accepted: how wide it fans out. Answers to commands count too.",
            [("messages", f"{rate('midplane_sent_messages_total')} / ({rate('midplane_publications_total')} > 0)")],
        ),
    )
    yield row(
        "Loss",
        graph(
            "Gaps",
            "Times that deliveries may have been lost on their way to a node, by cause.",
            [("{{cause}}", rate("midplane_gaps_total", "cause"))],
            "ops",
        ),
        graph(
            "Gaps that could not be healed",
            "Clients were told to start over.",
            [("{{cause}}", rate("midplane_gaps_unhealed_total", "cause"))],
            "ops",
        ),
        graph(
            "Slow readers",
            "closed, lost: they lose their connection or their place. conflated, parked, recovered: their namespace helps them.",
            [("{{action}}", rate("midplane_slow_consumers_total", "action"))],
            "ops",
        ),
    )
    yield row(
        "Recovery",
        graph(
            "Recoveries",
            "What clients that came back were told, by result.",
            [("{{result}}", rate("midplane_recoveries_total", "result"))],
            "ops",
        ),
        graph(
            "Publications of one recovery",
            "How much those who came back had missed.",
            median_and_tail("midplane_recovered_publications"),
        ),
        graph(
            "Time to recover",
            "99 of 100 take no longer. tail: from the node's memory. stream: read from NATS.",
            [("{{source}}", quantile(0.99, "midplane_recovery_duration_seconds", "source"))],
            "s",
        ),
    )
    yield row(
        "Queues",
        graph(
            "Bytes that wait",
            "feed: deliveries that a node has not handled yet. outboxes: what waits for slow readers.",
            [("{{queue}}", "sum by (queue) (midplane_queue_bytes)"), ("outboxes", "sum(midplane_outbox_bytes)")],
            "bytes",
            width=12,
        ),
        graph(
            "Queues without room",
            "healing: what waits is read again from history. publish: publications are refused. connect, recovery: clients come again later. controls: a client comes anew. word: what other nodes said is lost.",
            [("{{queue}}", rate("midplane_queue_overflows_total", "queue"))],
            "ops",
            width=12,
        ),
    )
    yield row(
        "Presence",
        graph(
            "Clients recorded",
            "Once for each channel in which they are.",
            [("{{instance}}", "sum by (instance) (midplane_presence_members)")],
            stacked=True,
        ),
        graph(
            "Changes not recorded yet",
            "What other nodes do not see yet. For long: presence cannot be written.",
            [("{{instance}}", "midplane_presence_unrecorded")],
        ),
        graph(
            "Records of presence refused",
            "For what they say, and for good: others do not see these clients. The log names why.",
            [("{{instance}}", rate("midplane_presence_records_refused_total", "instance"))],
            "ops",
        ),
        graph(
            "Joins and leaves found late",
            "Those that had not arrived when the node compared what it knows with the records.",
            [("{{instance}}", rate("midplane_presence_healed_total", "instance"))],
            "ops",
        ),
    )


def board():
    return dashboard("delivery", "Delivery", __doc__, *rows())
