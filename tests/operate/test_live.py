"""Every query, of every panel and every alert, runs against a real Prometheus that watches a real cluster, and finds data."""

import re

import pytest

from dashboards import BOARDS, TARGETS, filled, named, without_fallback
from live.pictures import pictures
from live.prometheus import numbers
from rules import ALERTS, RECORDINGS
from system import eventually

LABEL = re.compile(r"{{(\w+)}}")
SPLIT = [each for each in TARGETS if LABEL.search(each[2]["legendFormat"])]


@pytest.mark.parametrize("board, panel, target", TARGETS, ids=[named(*each) for each in TARGETS])
def test_a_query_finds_data(watched, board, panel, target):
    query = filled(target["expr"])
    assert numbers(watched.query(query)), query
    for selector in re.findall(r"\b(?:midplane|process)_[a-z_]+\{[^}]*\}", query):
        assert watched.query(selector), selector


@pytest.mark.parametrize("board, panel, target", SPLIT, ids=[named(*each) for each in SPLIT])
def test_a_query_has_the_labels_that_its_legend_names(watched, board, panel, target):
    """Without the fallback, which has a value whatever is asked for: of the families there are members, if only at 0."""
    query = without_fallback(filled(target["expr"]))
    found = watched.query(query)
    assert found, query
    for series in found:
        assert set(LABEL.findall(target["legendFormat"])) <= set(series["metric"]), query


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_reads_series_that_exist(watched, alert):
    """Nothing may fire, so what it compares is looked at: every selector must find something."""
    query = ALERTS[alert]["expr"]
    watched.query(query)
    selectors = re.findall(r"\b(?:midplane|process)_[a-z_]+(?:\{[^}]*\})?|\b[a-z]+:[a-z0-9_]+:[a-z0-9]+|\bup\{[^}]*\}", query)
    assert selectors
    for selector in selectors:
        assert watched.query(selector), selector


@pytest.mark.parametrize("record", RECORDINGS)
def test_a_recording_rule_records(watched, record):
    assert numbers(watched.query(record))


def test_rules_are_evaluated_without_errors(watched):
    for group in watched.ask("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule


def test_variables_find_their_values(watched):
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
                assert watched.ask(f"label/{label}/values", **{"match[]": filled(series)}), variable["name"]


def test_annotations_can_be_asked_for(watched):
    for board in BOARDS.values():
        for annotation in board["annotations"]["list"]:
            watched.query(filled(annotation["expr"]))


def becomes_active(watched, alert, **labels):
    def active():
        alerts = [each["labels"] for each in watched.ask("alerts")["alerts"]]
        return any(labels.items() <= each.items() for each in alerts if each["alertname"] == alert)

    eventually(f"{alert} {labels}", active, seconds=20)


def test_a_dead_node_is_an_alert_in_the_making(watched):
    becomes_active(watched, "MidplaneNodeDown", instance="gateway-3")


def test_a_loss_that_could_not_be_healed_is_an_alert(watched):
    becomes_active(watched, "MidplaneLossUnhealed", cause="reconnect")


def test_that_a_node_was_stopped_on_purpose_is_known(watched):
    eventually("recorded", lambda: numbers(watched.query("job:midplane_planned_departures:max5m")) == [1], seconds=20)


def test_pictures_can_be_looked_at(watched):
    """For people: test-artifacts/dashboards/*.png. MIDPLANE_ROUNDS=5 makes them show five rounds of what happens."""
    for file in pictures(watched, BOARDS).values():
        assert file.stat().st_size > 50_000, file
