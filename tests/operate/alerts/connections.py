"""Whether people are connected, and let in."""

from alerts import fires, quiet

STAYED = 'midplane_cluster_nodes{instance="b",state="%s"}'


def departed(state, values):
    """What the node that stays knows of the others."""
    return {STAYED % "draining": "0x400", STAYED % "left": "0x400", STAYED % "failed": "0x400", STAYED % state: values}


def opened(values):
    return {'midplane_connections_opened_total{instance="b",transport="websocket"}': values}


def connected(a, b):
    return {
        'midplane_connections{instance="a",transport="websocket"}': a,
        'midplane_connections{instance="b",transport="websocket"}': b,
    }


def rejected(reason, values):
    return {f'midplane_handshakes_rejected_total{{instance="b",reason="{reason}"}}': values, **opened("0+10x100")}


def auth(result, values, ok="0+100x150"):
    return {
        'midplane_auth_total{instance="b",result="ok"}': ok,
        f'midplane_auth_total{{instance="b",result="{result}"}}': values,
    }


def slow(action, values):
    return {
        f'midplane_slow_consumers_total{{instance="b",action="{action}"}}': values,
        'midplane_connections{instance="b",transport="websocket"}': "1000x100",
    }


def posts(result, values):
    return {
        'midplane_emulation_total{instance="b",result="here"}': "0+100x100",
        f'midplane_emulation_total{{instance="b",result="{result}"}}': values,
    }


def full(connections, limit):
    return {
        'midplane_connections{instance="b",transport="websocket"}': connections,
        'midplane_connections{instance="b",transport="sse"}': "10x100",
        'midplane_connections_limit{instance="b"}': limit,
    }


CASES = {
    "MidplaneConnectionsDropped": [
        fires("all but a few are gone", "12m", {**connected("500x40 0x20", "500x40 100x20"), **departed("failed", "0x80")}),
        fires(
            "also where a node was drained an hour ago, and lives on",
            "12m",
            {**connected("500x40 0x20", "500x40 100x20"), **departed("draining", "1x80")},
        ),
        quiet("few there were", "12m", {**connected("40x40 0x20", "40x40 0x20"), **departed("failed", "0x80")}),
        quiet("a third is gone", "12m", {**connected("500x40 150x20", "500x80"), **departed("failed", "0x80")}),
        quiet("a node was stopped", "12m", {**connected("900x40 stale", "100x80"), **departed("left", "0x40 1x40")}),
        quiet("a node is stopping", "12m", {**connected("900x40 0x40", "100x80"), **departed("draining", "0x40 1x2 0x40")}),
        quiet("it goes down slowly", "60m", connected("1000-3x260", "1000-3x260")),
    ],
    "MidplaneReconnectStorm": [
        fires(
            "a hundred a second after an hour of one a second",
            "66m",
            {**connected("1000x300", "1000x300"), **opened("0+15x250 5000+1500x40"), **departed("left", "0x300")},
        ),
        quiet(
            "a rolling restart",
            "66m",
            {**connected("1000x300", "1000x300"), **opened("0+15x250 5000+1500x40"), **departed("left", "0x250 1x40")},
        ),
        quiet(
            "a restart between two scrapes",
            "66m",
            {
                **connected("1000x300", "1000x300"),
                **opened("0+15x250 5000+1500x40"),
                **departed("left", "0x300"),
                'process_start_time_seconds{instance="a"}': "100x250 15100x40",
            },
        ),
        quiet(
            "a cluster that is new",
            "4m",
            {**connected("0+100x60", "0+100x60"), **opened("0+1500x60"), **departed("left", "0x60")},
        ),
        quiet("few clients", "66m", {**connected("10x300", "10x300"), **opened("0x250 0+100x40"), **departed("left", "0x300")}),
    ],
    "MidplaneHandshakesRejected": [
        fires("a third, for lack of room", "12m", rejected("capacity", "0+5x100")),
        fires("a third, since the node is not ready", "12m", rejected("not_ready", "0+5x100")),
        quiet("by a node that stops", "12m", rejected("draining", "0+5x100")),
        quiet("for their tokens", "12m", rejected("auth", "0+5x100")),
        quiet("one in fifty", "12m", rejected("origin", "0+0.2x100")),
    ],
    "MidplaneCapacityHigh": [
        fires("90 %, over two transports", "15m", full("890x80", "1000x80"), instance="b"),
        quiet("60 %", "15m", full("590x80", "1000x80")),
        quiet("without limit", "15m", full("5000x80", "0x80")),
    ],
    "MidplaneAuthFailures": [
        fires("a half has a wrong signature", "22m", auth("signature", "0+100x150")),
        quiet("one in a hundred", "22m", auth("signature", "0+1x150")),
        quiet("a half has expired", "22m", auth("expired", "0+100x150")),
        quiet("nobody comes", "22m", auth("signature", "0x150", ok="0x150")),
    ],
    "MidplaneTokensUnchecked": [
        fires("the keys cannot be had", "5m", auth("unavailable", "0 1 2+1x40"), instance="b"),
        quiet("once", "10m", auth("unavailable", "0x3 1x60")),
        quiet("tokens that are wrong", "5m", auth("signature", "0+1x40")),
    ],
    "MidplaneSlowConsumers": [
        fires("five a minute are closed, of a thousand", "17m", slow("closed", "0+1.25x100")),
        quiet("ten in all", "17m", slow("closed", "0+0.1x100")),
        quiet("parked and caught up", "17m", slow("parked", "0+10x100")),
    ],
    "MidplaneEmulationFailing": [
        fires("one in ten is not answered", "12m", posts("timeout", "0+11x100")),
        quiet("one in a hundred", "12m", posts("timeout", "0+1x100")),
        quiet("sessions that ended", "12m", posts("unknown_session", "0+50x100")),
    ],
}
