"""The dashboards as they are committed."""

import json
import re

from rules import PROJECT

FOLDER = PROJECT / "grafana/dashboards"
BOARDS = {file.name: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
PANELS = [(board, panel) for board in BOARDS.values() for panel in board["panels"] if panel["type"] != "row"]
FALLBACK = re.compile(r"(?: > 0)? or on \(\) (?:label_replace\()?vector\(0\).*$")
TARGETS = [(board, panel, target) for board, panel in PANELS for target in panel["targets"]]


def filled(query, interval="2m", span="5m"):
    """The query with the variables that Grafana would fill in."""
    for name, value in {
        "__rate_interval": interval,
        "__interval": interval,
        "__range": span,
        "job": ".+",
        "instance": ".+",
    }.items():
        query = re.sub(rf"\${name}\b", value, query)
    return query


def without_fallback(query):
    """What a panel asks for, without the 0 that it shows where that is nothing."""
    return FALLBACK.sub("", query)


def named(board, panel, target=None):
    title = f"{board['title'].split(' / ')[1]}: {panel['title']}"
    return f"{title} {target['refId']}" if target else title
