"""One node, or several compared: what it does, what it takes, what may run out."""

from model import GREEN, RED, YELLOW, dashboard, graph, median_and_tail, nonzero, nonzero_rate, quantile, rate, row, stat

BY_NODE = "{{instance}}"


def rows():
    yield row(
        "",
        stat("Ready", "Nodes that serve.", "sum(midplane_ready)", steps=(RED, (1, GREEN)), graph=False, width=4),
        stat(
            "Up for", "Since the start of the youngest.", "time() - max(process_start_time_seconds)", "s", graph=False, width=4
        ),
        stat(
            "Busy",
            "Part of the time in which the runtime's threads were at work, on the busiest node.",
            "max(midplane_runtime_busy_ratio)",
            "percentunit",
            (GREEN, (0.5, YELLOW), (0.7, RED)),
            width=4,
        ),
        stat("Memory", "Of the node that takes most.", "max(process_resident_memory_bytes)", "bytes", width=4),
        stat(
            "File descriptors",
            "Part of those that a node may open, on the worst.",
            "max(process_open_fds / (process_max_fds > 0))",
            "percentunit",
            (GREEN, (0.6, YELLOW), (0.8, RED)),
            width=4,
        ),
        stat(
            "Still to drain",
            "Connections that stopping nodes wait for.",
            "sum(midplane_drain_remaining_connections)",
            steps=(GREEN, (1, YELLOW)),
            width=4,
        ),
    )
    yield row(
        "Resources",
        graph(
            "Busy",
            "Part of the time in which the runtime's threads were at work.",
            [(BY_NODE, "midplane_runtime_busy_ratio")],
            "percentunit",
            most=1,
            line=0.7,
        ),
        graph(
            "Processor", "Seconds of processor time a second.", [(BY_NODE, rate("process_cpu_seconds_total", "instance"))], "s"
        ),
        graph(
            "Late to tasks",
            "How late the runtime comes to a task whose time has come. More than 0.1 s: something blocks.",
            [(BY_NODE, "midplane_runtime_poll_delay_seconds")],
            "s",
        ),
        graph("Memory", "Resident.", [(BY_NODE, "process_resident_memory_bytes")], "bytes"),
        graph(
            "File descriptors",
            "Part of those that may be open; each connection is one.",
            [(BY_NODE, "process_open_fds / (process_max_fds > 0)")],
            "percentunit",
            most=1,
            line=0.8,
        ),
        graph(
            "Threads and tasks",
            "Threads of the process, and tasks of its runtime: some for the node, one for each connection. More: a leak.",
            [
                ("{{instance}} threads", "process_threads"),
                ("{{instance}} tasks", "midplane_runtime_tasks"),
            ],
        ),
    )
    yield row(
        "Connections",
        graph(
            "By transport",
            "What carries them.",
            [("{{transport}}, {{protocol}}", nonzero("sum by (transport, protocol) (midplane_connections)", "transport"))],
            stacked=True,
        ),
        graph(
            "How long they last",
            "Of those that closed. Short medians: clients that flap, or a proxy that cuts.",
            [("{{transport}}", quantile(0.5, "midplane_connection_duration_seconds", "transport"))],
            "s",
        ),
        graph(
            "Round trip to clients",
            "From a ping to its pong: their network.",
            median_and_tail("midplane_ping_rtt_seconds"),
            "s",
        ),
        graph("Handshakes under way", "Opened, and not connected yet.", [(BY_NODE, "midplane_handshakes_inflight")]),
        graph("Sent", "To clients.", [(BY_NODE, rate("midplane_sent_bytes_total", "instance"))], "Bps"),
        graph("Received", "From clients.", [(BY_NODE, rate("midplane_received_bytes_total", "instance"))], "Bps"),
        graph(
            "Messages",
            "To clients and from them.",
            [
                ("sent, {{transport}}", nonzero_rate("midplane_sent_messages_total", "transport")),
                ("received", rate("midplane_received_messages_total")),
            ],
            "mps",
        ),
        graph("Outboxes", "Bytes that wait for slow readers.", [(BY_NODE, "midplane_outbox_bytes")], "bytes"),
        graph(
            "Feed",
            "Bytes of deliveries that wait to be handled.",
            [(BY_NODE, "sum by (instance) (midplane_queue_bytes)")],
            "bytes",
        ),
    )
    yield row(
        "Commands",
        graph(
            "By kind",
            "What clients ask for.",
            [("{{command}}", nonzero_rate("midplane_commands_total", "command"))],
            "ops",
            stacked=True,
        ),
        graph(
            "Not ok",
            "Answered with an error, or with the end of the connection.",
            [("{{command}}: {{result}}", nonzero_rate('midplane_commands_total{result!="ok"}', "command, result"))],
            "ops",
        ),
        graph(
            "Time to handle",
            "99 of 100 take no longer.",
            [("{{command}}", quantile(0.99, "midplane_command_duration_seconds", "command"))],
            "s",
        ),
    )
    yield row(
        "Stopping",
        graph(
            "Still to drain",
            "Connections that a stopping node waits for.",
            [(BY_NODE, "midplane_drain_remaining_connections")],
            width=12,
        ),
        graph(
            "Time left",
            "Until a stopping node ends at the latest; 0 while it is not stopping. Below zero: stuck.",
            [
                (
                    BY_NODE,
                    "midplane_drain_deadline_timestamp_seconds - time() * (midplane_drain_deadline_timestamp_seconds > bool 0)",
                )
            ],
            "s",
            width=12,
        ),
    )


def board():
    return dashboard("node", "Node", __doc__, *rows())
