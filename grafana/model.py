"""What dashboards are made of, as plain dicts in Grafana's classic form.

Queries are written bare. `scoped` puts the matchers of the variables into every one, so that each panel follows the
choice of job and instance.
"""

import re

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCOPE = 'job=~"$job",instance=~"$instance"'
METRIC = re.compile(r"\b((?:midplane|process)_[a-z_]+)(?:\{([^}]*)\})?")
WIDTH = 24

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


def scoped(query):
    def matched(found):
        own = f",{found[2]}" if found[2] else ""
        return f"{found[1]}{{{SCOPE}{own}}}"

    return METRIC.sub(matched, query)


def rate(metric, by=""):
    """How often a second, over all that is left by `by`."""
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))" if by else f"sum(rate({metric}[$__rate_interval]))"


def nonzero(query, by):
    """Only what is not 0, for families of which most members never happen; a single 0 under the name "none" where none does."""
    return f'{query} > 0 or on () label_replace(vector(0), "{by.split(",")[0]}", "none", "", "")'


def nonzero_rate(metric, by):
    return nonzero(rate(metric, by), by)


def quantile(q, metric, by=""):
    """A quantile of a histogram; `metric` may have matchers."""
    name, brace, rest = metric.partition("{")
    over = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({over}) (rate({name}_bucket{brace}{rest}[$__rate_interval])))"


def median_and_tail(metric):
    return [("median", quantile(0.5, metric)), ("99 of 100", quantile(0.99, metric))]


def thresholds(*steps):
    """Colours from below: `thresholds(GREEN, (1, RED))`."""
    first, *others = steps
    return {
        "mode": "absolute",
        "steps": [{"color": first, "value": None}, *({"color": color, "value": value} for value, color in others)],
    }


def _panel(kind, title, description, queries, unit, width, height, **target):
    """`queries` are pairs of legend and query."""
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "editorMode": "code",
            "legendFormat": legend,
            "expr": scoped(query),
            **target,
        }
        for index, (legend, query) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
    }


def stat(title, description, query, unit="short", steps=(BLUE,), graph=True, width=3, decimals=None):
    """One number, the last one."""
    panel = _panel("stat", title, description, [("", query)], unit, width, 4)
    panel["fieldConfig"]["defaults"] |= {"thresholds": thresholds(*steps), "color": {"mode": "thresholds"}, "noValue": "0"}
    if decimals is not None:
        panel["fieldConfig"]["defaults"]["decimals"] = decimals
    panel["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area" if graph else "none",
        "textMode": "value",
        "justifyMode": "auto",
        "orientation": "auto",
    }
    return panel


def graph(title, description, queries, unit="short", width=8, stacked=False, most=None, line=None):
    """Lines over time. `most` is the top of the scale, `line` a limit to draw."""
    panel = _panel("timeseries", title, description, queries, unit, width, 8)
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    defaults = {"min": 0, "color": {"mode": "palette-classic"}, "custom": custom, "noValue": "0"}
    if most is not None:
        defaults["max"] = most
    if line is not None:
        defaults["thresholds"] = thresholds("transparent", (line, RED))
        custom["thresholdsStyle"] = {"mode": "line"}
    panel["fieldConfig"]["defaults"] |= defaults
    panel["options"] = {
        "legend": {
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull", "max"],
            "sortBy": "Max",
            "sortDesc": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel


def heatmap(title, description, metric, unit="s", width=8):
    """How a histogram is spread, over time."""
    query = f"sum by (le) (increase({metric}_bucket[$__rate_interval]))"
    panel = _panel("heatmap", title, description, [("{{le}}", query)], unit, width, 8, format="heatmap")
    panel["options"] = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 32, "reverse": False},
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "legend": {"show": True},
        "yAxis": {"unit": unit, "axisPlacement": "left", "reverse": False},
    }
    return panel


def table(title, description, columns, width=24, height=7):
    """A line for each instance. `columns` are name, unit and query; of the first only the labels are shown."""
    queries = [(name, query) for name, _, query in columns]
    panel = _panel("table", title, description, queries, "short", width, height, format="table", instant=True)
    panel["options"] = {"showHeader": True, "cellHeight": "sm"}
    names = {f"Value #{target['refId']}": name for target, (name, _, _) in zip(panel["targets"], columns)}
    panel["transformations"] = [
        {"id": "joinByField", "options": {"byField": "instance", "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"pattern": "^(instance|version|revision|Value #[B-Z])$"}}},
        {"id": "organize", "options": {"renameByName": names}},
    ]
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, unit, _ in columns
    ]
    return panel


def row(title, *panels):
    return {"type": "row", "title": title, "collapsed": False, "panels": []}, panels


def _variable(name, label, query):
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


VARIABLES = [
    {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "midplane-prometheus"},
        "hide": 0,
    },
    _variable("job", "Job", "label_values(midplane_build_info, job)"),
    _variable("instance", "Instance", 'label_values(midplane_build_info{job=~"$job"}, instance)'),
]


def _annotation(name, color, query, text):
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": color,
        "expr": scoped(query),
        "step": "15s",
        "titleFormat": name,
        "textFormat": text,
    }


ANNOTATIONS = [
    _annotation("Start of a node", BLUE, "changes(process_start_time_seconds[1m]) > 0", "{{instance}}"),
    _annotation("Drain", YELLOW, "midplane_drain_deadline_timestamp_seconds > 0", "{{instance}}"),
]

LINK = {
    "type": "dashboards",
    "title": "midplane",
    "tags": ["midplane"],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
}


def dashboard(uid, title, description, *rows):
    """Rows of panels, which flow from left to right. A row whose title is empty has no heading."""
    panels, top, number = [], 0, 0
    for heading, members in rows:
        if heading["title"]:
            number += 1
            panels.append({**heading, "id": number, "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}})
            top += 1
        left, height = 0, 0
        for panel in members:
            if left + panel["gridPos"]["w"] > WIDTH:
                left, top, height = 0, top + height, 0
            number += 1
            panels.append({"id": number, **panel, "gridPos": {"x": left, "y": top, **panel["gridPos"]}})
            left += panel["gridPos"]["w"]
            height = max(height, panel["gridPos"]["h"])
        top += height
    return {
        "uid": f"midplane-{uid}",
        "title": f"midplane / {title}",
        "description": description,
        "tags": ["midplane"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": VARIABLES},
        "annotations": {"list": ANNOTATIONS},
        "links": [LINK],
        "panels": panels,
    }
