"""Whether what is published arrives."""

from alerts import fires, quiet


def recoveries(result, values):
    return {
        'midplane_recoveries_total{instance="a",result="full"}': "0+10x150",
        'midplane_recoveries_total{instance="a",result="empty"}': "0+10x150",
        f'midplane_recoveries_total{{instance="a",result="{result}"}}': values,
    }


def errors(reason, values, source="client"):
    return {f'midplane_publish_errors_total{{instance="a",source="{source}",reason="{reason}"}}': values}


HEARD = 'midplane_canary_last_success_timestamp_seconds{instance="a"}'
STOPPING = 'midplane_drain_deadline_timestamp_seconds{instance="a"}'
SILENT = 'midplane_canary_silent_peers{instance="a"}'
CANARY = 'midplane_canary_duration_seconds_bucket{instance="a",le="%s"}'


def took(within_a_second, within_five):
    return {CANARY % "1": within_a_second, CANARY % "5": within_five, CANARY % "+Inf": within_five}


# A word every two seconds, the last one delivered at 30 s, and what a scrape every three sees of that.
LAST = {HEARD: "1 2 6 8 12 14 18 20 24 26 30x20", STOPPING: "0x30"}
# It was killed at 31 s, and whoever asks it waits for an answer.
KILLED = {HEARD: "1 2 6 8 12 14 18 20 24 26 29 _ _ _ stale", STOPPING: "0x10 _ _ _ stale"}
SILENCE = [
    quiet("nine seconds", "39s", LAST),
    fires("ten seconds", "40s", LAST, instance="a"),
    quiet("a node that was killed", "39s", KILLED),
    quiet("a node that was killed", "41s", KILLED),
]

CASES = {
    "MidplaneDeliveryCanaryFailing": [
        fires("none since 30 s", "1m", {HEARD: "1 15 30x10", STOPPING: "0x20"}, instance="a"),
        quiet("one every scrape", "1m", {HEARD: "1 15 30 45 60 75", STOPPING: "0x20"}),
        quiet("a node that is stopping", "1m", {HEARD: "1 15 30x10", STOPPING: "90x20"}),
        quiet("a node that has only begun, or has none", "1m", {HEARD: "0x10", STOPPING: "0x20"}),
        quiet("a node that is dead", "2m", {HEARD: "1 15 stale", STOPPING: "0 0 stale"}),
    ],
    "MidplanePeersUnheard": [
        fires("one fell silent", "4m", {SILENT: "0x4 1x60"}, instance="a"),
        fires("for as long as it is silent", "30m", {SILENT: "0x4 2x160"}, instance="a"),
        quiet("for half a minute", "4m", {SILENT: "0x12 1 1 0x60"}),
        quiet("heard again", "10m", {SILENT: "0x4 1x20 0x60"}),
        quiet("a node that is dead", "10m", {SILENT: "1 1 stale"}),
    ],
    "MidplaneDeliverySlow": [
        fires("one in ten takes longer", "12m", took("0+90x60", "0+100x60")),
        quiet("all are quicker", "12m", took("0+100x60", "0+100x60")),
    ],
    "MidplaneLossUnhealed": [
        fires("once", "2m", {'midplane_gaps_unhealed_total{instance="a",cause="hole"}': "0x3 1x20"}, cause="hole"),
        quiet("ten minutes ago", "12m", {'midplane_gaps_unhealed_total{instance="a",cause="hole"}': "0x3 1x80"}),
        quiet("healed", "2m", {'midplane_gaps_total{instance="a",cause="hole"}': "0x3 1x20"}),
    ],
    "MidplaneGapsFrequent": [
        fires("several a minute", "12m", {'midplane_gaps_total{instance="a",cause="dropped"}': "0+1x80"}, cause="dropped"),
        quiet("a few", "12m", {'midplane_gaps_total{instance="a",cause="dropped"}': "0x10 1 2 3x60"}),
        quiet("elections and reconnects", "12m", {'midplane_gaps_total{instance="a",cause="reconnect"}': "0+1x80"}),
    ],
    "MidplaneRecoveryRefused": [
        fires("a third", "22m", recoveries("refused_gap", "0+10x150")),
        fires("a third fails", "22m", recoveries("error", "0+10x150")),
        quiet("one in a hundred", "22m", recoveries("refused_gap", "0+0.2x150")),
    ],
    "MidplanePublishErrors": [
        fires("NATS does not acknowledge", "4m", errors("unknown", "0+1x30"), source="client", reason="unknown"),
        quiet("what clients do wrong", "4m", errors("refused", "0+1x30")),
        quiet("none", "4m", errors("unavailable", "0x30")),
    ],
    "MidplanePublicationsRefused": [
        fires("a backend that publishes no JSON", "17m", errors("refused", "0+1x100", "nats"), source="nats"),
        quiet("now and then", "17m", errors("too_large", "0+0.1x100")),
        quiet("not stored", "17m", errors("unavailable", "0+1x100")),
    ],
    "MidplaneQueueOverflow": [
        fires(
            "no room for publications",
            "4m",
            {'midplane_queue_overflows_total{instance="a",queue="publish"}': "0x3 5x30"},
            instance="a",
            queue="publish",
        ),
        quiet("never", "4m", {'midplane_queue_overflows_total{instance="a",queue="publish"}': "0x30"}),
    ],
}
