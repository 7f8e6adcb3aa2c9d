"""Dashboards as pictures, for review: test-artifacts/dashboards/*.png."""

import json
import math
import re
import subprocess

from dashboards import filled
from rules import PROJECT

FOLDER = PROJECT / "test-artifacts/dashboards"
STEP = 1  # second


def legend(target, labels):
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), target["legendFormat"])


def drawn(prometheus, panel, begin, end):
    """What the panel has to draw."""
    targets = panel["targets"]
    queries = [filled(target["expr"], "6s", f"{int(end - begin)}s") for target in targets]
    if panel["type"] == "table":
        answers = [prometheus.ask("query", query=query, time=end)["result"] for query in queries]
        return {
            "columns": [[{"labels": each["metric"], "value": float(each["value"][1])} for each in answer] for answer in answers]
        }
    times = [begin + STEP * number for number in range(int((end - begin) / STEP) + 1)]
    series = []
    for target, query in zip(targets, queries):
        for found in prometheus.ask("query_range", query=query, start=begin, end=end, step=STEP)["result"]:
            values = {round(at - begin): float(value) for at, value in found["values"]}
            values = [values.get(round(at - begin)) for at in times]
            values = [None if value is None or math.isnan(value) else value for value in values]
            series.append({"legend": legend(target, found["metric"]), "values": values})
    return {"times": times, "series": series}


def pictures(prometheus, boards):
    """Draws dashboards, of the time in which something happened; their files by the names of `boards`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, board in boards.items():
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        data = {panel["id"]: drawn(prometheus, panel, prometheus.began, prometheus.ended) for panel in panels}
        files[name] = FOLDER / name.replace(".json", ".png")
        files[name].with_suffix(".json").write_text(json.dumps({"board": board, "data": data}))
    script = PROJECT / "tests/operate/render/picture.mjs"
    subprocess.run(["node", script, *files.values()], check=True, timeout=120)
    for file in files.values():
        file.with_suffix(".json").unlink()
    return files
