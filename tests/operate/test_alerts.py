"""Alerts: what is configured loads, each fires when it should and is quiet when it should, and has a runbook."""

import json
import re

import pytest

from alerts import backends, backplane, bridge, cluster, connections, delivery, nodes
from rules import ALERTS, FILE_OF, FILES, FOLDER, PROJECT, RECORDINGS, declared, groups, metrics_in
from tools import promtool

MODULES = (nodes, cluster, connections, delivery, backplane, backends, bridge)
CASES = {alert: cases for module in MODULES for alert, cases in module.CASES.items()}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yml")), ids=lambda file: file.name)
def test_the_configuration_loads(file):
    assert promtool("check", "config", file) is None


def test_every_alert_has_cases():
    assert set(CASES) == set(ALERTS)
    for alert, cases in CASES.items():
        assert {case.fires for case in cases} == {True, False}, alert


def rendered(text, labels):
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels.get(found[1], ""), text)


def unit_test(alert, case, scraped="15s"):
    """The case in promtool's form."""
    rule = ALERTS[alert]
    labels = {"job": "midplane", **rule["labels"], **case.labels}
    annotations = {name: rendered(text, labels) for name, text in rule["annotations"].items()}
    expected = [{"exp_labels": labels, "exp_annotations": annotations}] if case.fires else []
    return {
        "name": f"{alert}: {case.what}",
        "interval": scraped,
        "input_series": case.series,
        "alert_rule_test": [{"eval_time": case.at, "alertname": alert, "exp_alerts": expected}],
    }


def promtool_is_content(tests, module, evaluated, folder):
    own = module.__name__.split(".")[1]
    rules = [str(file) for file in FILES if file.stem in (own, "recording", "expectations")]
    file = folder / "tests.yml"
    file.write_text(json.dumps({"rule_files": rules, "evaluation_interval": evaluated, "tests": tests}))
    verdict = promtool("test", "rules", file)
    assert verdict is None, verdict


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[1])
def test_each_fires_when_it_should_and_only_then(module, tmp_path):
    tests = [unit_test(alert, case) for alert, cases in module.CASES.items() for case in cases]
    promtool_is_content(tests, module, "30s", tmp_path)


def test_the_tenth_second_without_a_delivery_is_an_alarm(tmp_path):
    """With a word every two seconds, scraped and evaluated as configured; test_together.py holds the intervals together."""
    alert = "MidplaneDeliveryCanaryFailing"
    group = next(group for _, group in groups() for rule in group["rules"] if rule.get("alert") == alert)
    tests = [unit_test(alert, case, scraped="3s") for case in delivery.SILENCE]
    promtool_is_content(tests, delivery, group["interval"], tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_its_form(alert):
    rule = ALERTS[alert]
    assert alert.startswith("Midplane")
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert 'job="midplane"' in rule["expr"]


@pytest.mark.parametrize("alert", ALERTS)
def test_it_has_a_runbook(alert):
    path, anchor = ALERTS[alert]["annotations"]["runbook_url"].split("#")
    assert anchor == alert.lower()
    assert path == f"docs/runbooks/{FILE_OF[alert].stem}.md"
    text = (PROJECT / path).read_text()
    section = re.search(rf"(?ms)^## {alert}$(.*?)(?=^## |\Z)", text)
    assert section, f"{path} has no section {alert}"
    for part in ("**Users.**", "**Look.**", "**Do.**", "**Not.**"):
        assert part in section[1], f"{path}: {alert} lacks {part}"


def test_runbooks_are_of_alerts_that_exist():
    titles = [
        title
        for file in (PROJECT / "docs/runbooks").glob("*.md")
        for title in re.findall(r"(?m)^## (Midplane\w+)$", file.read_text())
    ]
    assert sorted(titles) == sorted(ALERTS)


def test_every_alert_stands_in_the_table_of_alerts():
    rows = re.findall(r"(?m)^\| [^|]+ \| ([A-Z][^|]+) \| \[", (PROJECT / "docs/monitoring.md").read_text())
    named = [f"Midplane{name}" for row in rows for name in row.split(", ")]
    assert sorted(named) == sorted(ALERTS)


def test_links_between_runbooks_lead_somewhere():
    files = [PROJECT / "docs/monitoring.md", *(PROJECT / "docs/runbooks").glob("*.md")]
    links = [(file, link) for file in files for link in re.findall(r"\]\(([^)]+)\)", file.read_text()) if "://" not in link]
    assert len(links) >= 30
    for file, link in links:
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), f"{file.name}: {link}"
        titles = re.findall(r"(?m)^## (.+)$", target.read_text()) if anchor else []
        assert not anchor or anchor in [title.lower().replace(" ", "-") for title in titles], f"{file.name}: {link}"


def test_rules_read_metrics_that_exist():
    known = set(declared()) | set(RECORDINGS) | {"up"}
    for rule in [*ALERTS.values(), *RECORDINGS.values()]:
        unknown = {name for name in metrics_in(rule["expr"]) if not name.startswith("process_")} - known
        assert not unknown, f"{rule.get('alert') or rule['record']}: {unknown}"
