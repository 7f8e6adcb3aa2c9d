"""Prometheus' rules, as they stand in prometheus/rules."""

import re
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "prometheus"
FILES = sorted((FOLDER / "rules").glob("*.yml"))
METRIC = re.compile(r"\b(?:midplane|process)_[a-z0-9_]+|\bup\b")
RECORDED = re.compile(r"\b[a-z]+:[a-z0-9_]+:[a-z0-9]+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def groups():
    return [(file, group) for file in FILES for group in yaml.safe_load(file.read_text())["groups"]]


RULES = [rule for _, group in groups() for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDINGS = {rule["record"]: rule for rule in RULES if "record" in rule}
FILE_OF = {rule["alert"]: file for file, group in groups() for rule in group["rules"] if "alert" in rule}


def declared():
    """The metrics that the code declares, with their kinds."""
    text = (PROJECT / "src/telemetry/names.rs").read_text()
    found = re.findall(r'(?m)^ {4}[A-Z_]+: (\w+)(?:\(\w+\))? "(midplane_\w+)"', text)
    return {name: kind for kind, name in found}


def metrics_in(expression):
    """What a query reads: declared names, and recorded ones."""
    bare = re.sub(r'"[^"]*"|\bby \([^)]*\)', "", expression)
    recorded = set(RECORDED.findall(bare))
    return {SUFFIX.sub("", name) for name in METRIC.findall(RECORDED.sub("", bare))} | recorded
