"""Each node by itself."""

from alerts import fires, quiet

GIB = 1024 * 1024 * 1024


def draining(remaining, deadline):
    return {
        'midplane_drain_remaining_connections{instance="a"}': remaining,
        'midplane_drain_deadline_timestamp_seconds{instance="a"}': deadline,
    }


CASES = {
    "MidplaneNodeDown": [
        fires("a node that does not answer", "3m", {'up{instance="a"}': "1 1 0x20", 'up{instance="b"}': "1x20"}, instance="a"),
        quiet("one scrape that failed", "3m", {'up{instance="a"}': "1 1 0 1x20"}),
        quiet("another job's target", "5m", {'up{job="other",instance="a"}': "0x20"}),
    ],
    "MidplaneMetricsAbsent": [
        fires("no target", "3m", {'up{job="other",instance="a"}': "1x20"}),
        quiet("a target that is down", "5m", {'up{instance="a"}': "0x20"}),
    ],
    "MidplaneNodeNotReady": [
        fires(
            "a node that does not serve",
            "4m",
            {'midplane_ready{instance="a"}': "1 0x30", 'midplane_drain_deadline_timestamp_seconds{instance="a"}': "0x30"},
            instance="a",
        ),
        quiet(
            "a node that is stopping",
            "4m",
            {'midplane_ready{instance="a"}': "1 0x30", 'midplane_drain_deadline_timestamp_seconds{instance="a"}': "0 1000x30"},
        ),
        quiet(
            "a node that starts",
            "4m",
            {'midplane_ready{instance="a"}': "0x4 1x30", 'midplane_drain_deadline_timestamp_seconds{instance="a"}': "0x34"},
        ),
    ],
    "MidplaneTaskLost": [
        fires("one, some time ago", "20m", {'midplane_tasks_lost_total{instance="a"}': "0x4 1x100"}, instance="a"),
        quiet("started again", "20m", {'midplane_tasks_lost_total{instance="a"}': "1x4 0x100"}),
    ],
    "MidplaneNodeRestarting": [
        fires(
            "four lives in ten minutes",
            "11m",
            {'process_start_time_seconds{instance="a"}': "0x9 120x9 240x9 360x30"},
            instance="a",
        ),
        quiet("a deploy", "11m", {'process_start_time_seconds{instance="a"}': "0x9 120x60"}),
    ],
    "MidplaneDrainStuck": [
        fires("a minute past its deadline", "3m", draining("0x3 5x20", "0x3 90x20"), instance="a"),
        quiet("before its deadline", "3m", draining("0x3 5x20", "0x3 200x20")),
        quiet("drained, and living on", "3m", draining("0x3 5x3 0x20", "0x3 90x20")),
        quiet("not draining", "3m", draining("0x20", "0x20")),
    ],
    "MidplaneMixedVersions": [
        fires(
            "two versions for an hour",
            "70m",
            {
                'midplane_build_info{instance="a",version="1.0.0",revision="x"}': "1x300",
                'midplane_build_info{instance="b",version="1.0.1",revision="y"}': "1x300",
            },
        ),
        quiet(
            "a rollout of a few minutes",
            "70m",
            {
                'midplane_build_info{instance="a",version="1.0.1",revision="y"}': "1x300",
                'midplane_build_info{instance="b",version="1.0.0",revision="x"}': "1x100 stale",
                'midplane_build_info{instance="b",version="1.0.1",revision="y"}': "_x100 1x200",
            },
        ),
    ],
    "MidplaneCpuHigh": [
        fires("busy for a quarter of an hour", "17m", {'midplane_runtime_busy_ratio{instance="a"}': "0.9x80"}, instance="a"),
        quiet("busy for three minutes", "17m", {'midplane_runtime_busy_ratio{instance="a"}': "0.2x40 0.9x12 0.2x40"}),
    ],
    "MidplaneRuntimeLate": [
        fires("late again and again", "12m", {'midplane_runtime_poll_delay_seconds{instance="a"}': "0.4x60"}, instance="a"),
        quiet("late once", "12m", {'midplane_runtime_poll_delay_seconds{instance="a"}': "0.001x20 0.4 0.001x40"}),
    ],
    "MidplaneMemoryHigh": [
        fires(
            "at 90 % of one gibibyte",
            "7m",
            {'process_resident_memory_bytes{instance="a"}': f"{GIB * 9 // 10}x40"},
            instance="a",
        ),
        quiet("at 50 %", "7m", {'process_resident_memory_bytes{instance="a"}': f"{GIB // 2}x40"}),
        quiet("Prometheus itself", "7m", {'process_resident_memory_bytes{job="prometheus",instance="p"}': f"{GIB}x40"}),
    ],
    "MidplaneFdsNearLimit": [
        fires(
            "90 %", "7m", {'process_open_fds{instance="a"}': "900x40", 'process_max_fds{instance="a"}': "1000x40"}, instance="a"
        ),
        quiet("half of them", "7m", {'process_open_fds{instance="a"}': "500x40", 'process_max_fds{instance="a"}': "1000x40"}),
        quiet("without limit", "7m", {'process_open_fds{instance="a"}': "500x40", 'process_max_fds{instance="a"}': "0x40"}),
    ],
}
