"""The bridge to servers of Socket.IO behind Redis."""

from alerts import fires, quiet


def nodes(first, second, metric="connected"):
    return {
        'midplane_bridge_enabled{instance="a"}': "1x80",
        'midplane_bridge_enabled{instance="b"}': "1x80",
        f'midplane_bridge_{metric}{{instance="a"}}': first,
        f'midplane_bridge_{metric}{{instance="b"}}': second,
    }


def off():
    return {'midplane_bridge_enabled{instance="a"}': "0x80", 'midplane_bridge_connected{instance="a"}': "0x80"}


def events(result, values):
    return {
        'midplane_bridge_events_total{instance="a",way="out",result="passed"}': "0+10x80",
        f'midplane_bridge_events_total{{instance="a",way="out",result="{result}"}}': values,
    }


def requests(result, values):
    return {f'midplane_bridge_requests_total{{instance="a",request="fetch",result="{result}"}}': values}


CASES = {
    "MidplaneBridgeDown": [
        fires("Redis is away", "5m", nodes("1x8 0x72", "0x80")),
        quiet("another node has taken over", "10m", nodes("1x20 0x60", "0x22 1x58")),
        quiet("there is no bridge", "10m", off()),
    ],
    "MidplaneBridgeTwice": [
        fires("two at a time", "5m", nodes("1x80", "1x80", "leading")),
        quiet("one after the other", "10m", nodes("1x20 0x60", "0x20 1x60", "leading")),
    ],
    "MidplaneBridgeLosing": [
        fires("Redis was away", "10m", events("away", "0x20 0+5x60"), way="out", result="away"),
        quiet("all crosses", "10m", events("failed", "0x80")),
    ],
    "MidplaneBridgeRequestsFailing": [
        fires("a node is silent", "10m", requests("failed", "0x20 0+1x60"), request="fetch"),
        quiet("all is answered", "10m", requests("passed", "0+1x80")),
    ],
}
