"""The application's own services."""

from alerts import fires, quiet


def hooks(result, values):
    return {
        'midplane_hooks_total{instance="a",hook="connect",result="result"}': "0+100x80",
        f'midplane_hooks_total{{instance="a",hook="connect",result="{result}"}}': values,
        'midplane_hooks_total{instance="a",hook="publish",result="result"}': "0+100x80",
    }


def calls(result, values):
    return {
        'midplane_rpc_total{instance="a",result="ok"}': "0+100x80",
        f'midplane_rpc_total{{instance="a",result="{result}"}}': values,
    }


def events(result, values):
    return {
        'midplane_socketio_events_total{instance="a",result="told"}': "0+100x80",
        f'midplane_socketio_events_total{{instance="a",result="{result}"}}': values,
    }


def notices(result, values):
    return {
        'midplane_socketio_notices_total{instance="a",event="connect",result="told"}': "0+10x80",
        f'midplane_socketio_notices_total{{instance="a",event="disconnect",result="{result}"}}': values,
    }


CASES = {
    "MidplaneHooksFailing": [
        fires("the connect hook hangs", "12m", hooks("timeout", "0+20x80"), hook="connect"),
        quiet("one in a hundred", "12m", hooks("timeout", "0+1x80")),
        quiet("it says no", "12m", hooks("disconnect", "0+100x80")),
    ],
    "MidplaneRpcFailing": [
        fires("no service for one call in six", "12m", calls("no_responder", "0+20x80")),
        quiet("one in a hundred", "12m", calls("timeout", "0+1x80")),
        quiet("services that answer with an error", "12m", calls("error", "0+100x80")),
    ],
    "MidplaneSocketIoEventsFailing": [
        fires("a service hangs", "12m", events("timeout", "0+20x80")),
        quiet("one in a hundred", "12m", events("bad_answer", "0+1x80")),
        quiet("names that clients make up", "12m", events("no_responder", "0+100x80")),
    ],
    "MidplaneSocketIoServicesNotTold": [
        fires("NATS was away while clients left", "12m", notices("failed", "0+1x80"), event="disconnect"),
        quiet("all was told", "12m", notices("told", "0+10x80")),
    ],
}
