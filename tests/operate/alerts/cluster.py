"""The nodes as each other sees them."""

from alerts import fires, quiet


def up(**nodes):
    return {f'up{{instance="{node}"}}': values for node, values in nodes.items()}


def seen(a, b):
    return {
        'midplane_cluster_nodes{instance="a",state="up"}': a,
        'midplane_cluster_nodes{instance="b",state="up"}': b,
        'midplane_cluster_nodes{instance="a",state="left"}': "0x40",
        'midplane_cluster_nodes{instance="b",state="left"}': "1x40",
    }


CASES = {
    "MidplaneClusterTooSmall": [
        fires("two of three, one is down", "4m", up(a="1x20", b="1x20", c="0x20")),
        fires("two of three, one has vanished", "4m", up(a="1x20", b="1x20")),
        fires(
            "three, of which there should be five",
            "4m",
            {**up(a="1x20", b="1x20", c="1x20"), 'midplane_cluster_desired_nodes{instance="a"}': "5x20"},
        ),
        quiet(
            "two, since two are wanted",
            "4m",
            {**up(a="1x20", b="1x20"), 'midplane_cluster_desired_nodes{instance="a"}': "2x20"},
        ),
        quiet("three of three", "4m", up(a="1x20", b="1x20", c="1x20")),
        quiet("more than expected", "4m", up(a="1x20", b="1x20", c="1x20", d="1x20")),
        quiet("a node that is replaced", "4m", up(a="1x20", b="1x20", c="1x5 0x4 1x20")),
    ],
    "MidplaneClusterShouldGrow": [
        fires("four for two", "18m", {**up(a="1x80", b="1x80"), 'midplane_cluster_recommended_nodes{instance="a"}': "4x80"}),
        quiet("two for two", "18m", {**up(a="1x80", b="1x80"), 'midplane_cluster_recommended_nodes{instance="a"}': "2x80"}),
        quiet(
            "for five minutes",
            "18m",
            {**up(a="1x80", b="1x80"), 'midplane_cluster_recommended_nodes{instance="a"}': "2x20 4x20 2x40"},
        ),
    ],
    "MidplaneClusterDisagrees": [
        fires("one sees three, one sees itself", "4m", seen("3x20", "1x20")),
        quiet("all see three", "4m", seen("3x20", "3x20")),
        quiet("for a moment, while one joins", "4m", seen("2x5 3x20", "2x8 3x20")),
    ],
    "MidplaneNodeFenced": [
        fires("another process has its name", "2m", {'midplane_cluster_fenced_total{instance="a"}': "0x3 1x20"}, instance="a"),
        quiet("long ago", "30m", {'midplane_cluster_fenced_total{instance="a"}': "0x3 1x200"}),
        quiet("a count that begins anew", "3m", {'midplane_cluster_fenced_total{instance="a"}': "1x5 0x20"}),
    ],
    "MidplaneNodeRejoined": [
        fires("taken for dead", "2m", {'midplane_cluster_rejoins_total{instance="a"}': "0x3 1x20"}, instance="a"),
        quiet("never", "20m", {'midplane_cluster_rejoins_total{instance="a"}': "0x100"}),
    ],
    "MidplaneNodePaused": [
        fires("four times", "12m", {'midplane_cluster_graces_total{instance="a"}': "0x9 1x9 2x9 3x9 4x40"}, instance="a"),
        quiet("once", "12m", {'midplane_cluster_graces_total{instance="a"}': "0x9 1x60"}),
    ],
    "MidplaneReapsFailing": [
        fires(
            "every half a minute", "15m", {'midplane_cluster_reaps_total{instance="a",result="failed"}': "0 0 1 1 2 2 3+0.5x80"}
        ),
        quiet("done at the second attempt", "15m", {'midplane_cluster_reaps_total{instance="a",result="failed"}': "0x20 1x60"}),
        quiet("reaps that are done", "15m", {'midplane_cluster_reaps_total{instance="a",result="done"}': "0+1x80"}),
    ],
    "MidplanePresenceUnrecorded": [
        fires(
            "a tenth of them waits",
            "8m",
            {'midplane_presence_unrecorded{instance="a"}': "10x60", 'midplane_presence_members{instance="a"}': "100x60"},
            instance="a",
        ),
        fires(
            "departures of the last clients wait",
            "8m",
            {'midplane_presence_unrecorded{instance="a"}': "3x60", 'midplane_presence_members{instance="a"}': "0x60"},
            instance="a",
        ),
        quiet(
            "many come and go, and are recorded",
            "8m",
            {
                'midplane_presence_unrecorded{instance="a"}': "200 0 150 0 300 0 0 0x50",
                'midplane_presence_members{instance="a"}': "1000x60",
            },
        ),
    ],
    "MidplaneSurveysFailing": [
        fires(
            "half of them",
            "22m",
            {
                'midplane_surveys_total{instance="a",result="complete"}': "0+1x100",
                'midplane_surveys_total{instance="a",result="silent"}': "0+1x100",
            },
        ),
        quiet(
            "one in a hundred",
            "22m",
            {
                'midplane_surveys_total{instance="a",result="complete"}': "0+100x100",
                'midplane_surveys_total{instance="a",result="silent"}': "0+1x100",
            },
        ),
        quiet(
            "nobody asks",
            "22m",
            {
                'midplane_surveys_total{instance="a",result="complete"}': "0x100",
                'midplane_surveys_total{instance="a",result="silent"}': "0x100",
            },
        ),
    ],
}
