"""The link to NATS."""

from alerts import fires, quiet

BUCKET = 'midplane_backplane_publish_duration_seconds_bucket{instance="a",kind="%s",le="%s"}'


TAKEN_BACK = 'midplane_backplane_subscriptions_taken_back{instance="%s"}'
LOST = 'midplane_backplane_state_losses_total{instance="%s",state="%s"}'


def acknowledged(kind, within_a_second, within_five):
    return {BUCKET % (kind, "1"): within_a_second, BUCKET % (kind, "5"): within_five, BUCKET % (kind, "+Inf"): within_five}


def stream(used, limit):
    return {
        'midplane_stream_bytes{instance="a",namespace="chat"}': used,
        'midplane_stream_bytes{instance="b",namespace="chat"}': "0x100",
        'midplane_stream_bytes_limit{instance="a",namespace="chat"}': limit,
        'midplane_stream_bytes_limit{instance="b",namespace="chat"}': "0x100",
    }


def short(streams):
    series = 'midplane_streams_below_settings{instance="%s",limit="%s"}'
    return {series % ("a", "replicas"): streams, series % ("b", "replicas"): "0x100", series % ("a", "depth"): "0x100"}


def links(connected, disconnected):
    return {
        'midplane_backplane_connections{instance="a",state="connected"}': connected,
        'midplane_backplane_connections{instance="a",state="disconnected"}': disconnected,
    }


def altered(put_right, standing):
    series = 'midplane_stream_alterations_total{instance="a",result="%s"}'
    return {series % "put_right": put_right, series % "standing": standing}


CASES = {
    "MidplaneBackplaneDisconnected": [
        fires("one of four is down", "2m", links("4x3 3x20", "0x3 1x20"), instance="a", state="disconnected"),
        quiet("for one scrape", "2m", links("4 4 0 4x20", "0 0 4 0x20")),
        quiet("a node that stands alone", "2m", links("0x20", "0x20")),
    ],
    "MidplaneBackplaneFlapping": [
        fires(
            "every two minutes",
            "14m",
            {'midplane_backplane_reconnects_total{instance="a"}': "0x7 1x7 2x7 3x7 4x7 5x40"},
            instance="a",
        ),
        quiet("once", "14m", {'midplane_backplane_reconnects_total{instance="a"}': "0x7 1x60"}),
    ],
    "MidplaneBackplaneSlow": [
        fires("one in ten takes longer", "12m", acknowledged("stream", "0+90x60", "0+100x60")),
        quiet("all are quicker", "12m", acknowledged("stream", "0+100x60", "0+100x60")),
        quiet("nobody publishes", "12m", acknowledged("stream", "0x60", "0x60")),
    ],
    "MidplaneStreamNearLimit": [
        fires("90 %", "18m", stream("900x100", "1000x100"), namespace="chat"),
        quiet("half full", "18m", stream("500x100", "1000x100")),
        quiet("without limit", "18m", stream("900x100", "0x100")),
    ],
    "MidplaneStreamBelowSettings": [
        fires("copies were taken away", "10m", short("0x5 6x60"), limit="replicas"),
        quiet("somebody gave them back", "10m", short("0x5 6x5 0x60")),
        quiet("all is as wanted", "10m", short("0x60")),
    ],
    "MidplaneSubscriptionsTakenBack": [
        fires("two of one node", "3m", {TAKEN_BACK % "a": "0x4 2x20", TAKEN_BACK % "b": "0x24"}, instance="a"),
        quiet("granted again at once", "3m", {TAKEN_BACK % "a": "0x4 2 0x20"}),
    ],
    "MidplaneSharedStateLost": [
        fires("every node finds it, once", "6m", {LOST % ("a", "nodes"): "0x10 1x60", LOST % ("b", "nodes"): "0x10 1x60"}, state="nodes"),
        quiet("long ago", "20m", {LOST % ("a", "nodes"): "0x4 1x100"}),
        quiet("never", "10m", {LOST % ("a", "nodes"): "0x60", LOST % ("a", "presence"): "0x60"}),
    ],
    "MidplaneStreamAltered": [
        fires("it was put right", "4m", altered("0x10 1x60", "0x70"), result="put_right"),
        fires("nodes may not put it right", "10m", altered("0x70", "0x10 1+1x60"), result="standing"),
        quiet("long ago", "12m", altered("0x10 1x90", "0x100")),
        quiet("nobody touched it", "10m", altered("0x70", "0x70")),
    ],
}
