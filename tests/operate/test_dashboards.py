"""Dashboards: they are what the generator makes, keep Grafana's conventions (the rules of its dashboard-linter, which cannot be
built here), and show every metric."""

import re

import pytest
import yaml

from dashboards import BOARDS, FOLDER, PANELS, TARGETS, named
from rules import ALERTS, PROJECT, RECORDINGS, declared, metrics_in

UNITS = {"short", "s", "bytes", "Bps", "percentunit", "ops", "reqps", "mps"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Metrics that are on no dashboard and in no alert, each with its reason.
LEFT_OUT = {}


def test_they_are_what_the_generator_makes():
    from generate import made

    assert {file.name: file.read_text() for file in FOLDER.glob("*.json")} == made(), "run python3 grafana/generate.py"


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_a_dashboard(board):
    assert board["editable"] is False
    assert board["schemaVersion"] == 39
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    for name in ("job", "instance"):
        variable = variables[name]
        assert variable["datasource"] == SOURCE
        assert variable["label"] == name.capitalize()
        assert variable["multi"] and variable["includeAll"] and variable["allValue"] == ".+"
        assert variable["refresh"] == 2, "again when the time changes"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert [link["tags"] for link in board["links"]] == [["midplane"]]
    assert board["links"][0]["keepTime"] and board["links"][0]["includeVars"]


def test_panels_do_not_overlap():
    for board in BOARDS.values():
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, named(board, panel)
            taken |= cells


@pytest.mark.parametrize("board, panel", PANELS, ids=[named(*each) for each in PANELS])
def test_a_panel(board, panel):
    assert panel["datasource"] == SOURCE
    assert panel["title"] and panel["description"].endswith((".", ":", "?"))
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    for override in panel["fieldConfig"]["overrides"]:
        assert all(each["value"] in UNITS for each in override["properties"] if each["id"] == "unit")
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("board, panel, target", TARGETS, ids=[named(*each) for each in TARGETS])
def test_a_query(board, panel, target):
    query = target["expr"]
    assert target["datasource"] == SOURCE
    selectors = re.findall(r"\b(?:midplane|process)_[a-z_]+(\{[^}]*\})?", query)
    assert selectors and all('job=~"$job"' in each and 'instance=~"$instance"' in each for each in selectors)
    for window in re.findall(r"\[([^\]]+)\]", query):
        assert window in ("$__rate_interval", "$__range"), window
    for name, counted in re.findall(r"(\w+\()?\b\w+_(total|bucket)\{", query):
        assert name in ("rate(", "increase("), f"_{counted} without a rate"


def on_show():
    shown = {name for _, _, target in TARGETS for name in metrics_in(target["expr"])}
    alerted = {name for rule in [*ALERTS.values(), *RECORDINGS.values()] for name in metrics_in(rule["expr"])}
    return shown, alerted


def test_every_metric_is_shown_or_raises_an_alarm():
    shown, alerted = on_show()
    missing = set(declared()) - shown - alerted - set(LEFT_OUT)
    assert not missing
    assert not set(LEFT_OUT) & (shown | alerted), "left out, and shown all the same"
    assert set(LEFT_OUT) <= set(declared())


def test_every_metric_that_is_asked_for_exists():
    shown, _ = on_show()
    unknown = {name for name in shown if not name.startswith("process_")} - set(declared())
    assert not unknown


def test_the_data_source_is_provisioned_under_the_name_that_dashboards_use():
    source = yaml.safe_load((PROJECT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    scrape = yaml.safe_load((PROJECT / "prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape
    for board in BOARDS.values():
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        assert variables["datasource"]["current"]["value"] == source["uid"] == "midplane-prometheus"
