"""A real Prometheus with the project's own configuration, but for the addresses and, where nobody minds, a shorter interval."""

import json
import math
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from rules import FILES, FOLDER
from system import Process, eventually, free_port
from tools import tool


def numbers(result):
    """The values of an answer that are any."""
    return [value for value in (float(series["value"][1]) for series in result) if not math.isnan(value)]


class Prometheus:
    def __init__(self, nodes, intervals="1s"):
        """`intervals` of scraping and evaluating take the place of those that operators run with; `None` leaves them."""
        self.targets = len(nodes)
        self.intervals = intervals
        self.directory = Path(tempfile.mkdtemp(prefix="midplane-prometheus-"))
        self.address = f"127.0.0.1:{free_port()}"
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(self._configuration(nodes)))

    def _configuration(self, nodes):
        made = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        if self.intervals:
            kinds = ("scrape_interval", "scrape_timeout", "evaluation_interval")
            made["global"] |= dict.fromkeys(kinds, self.intervals)
        made["rule_files"] = [str(file) for file in FILES]
        midplane = next(job for job in made["scrape_configs"] if job["job_name"] == "midplane")
        midplane["static_configs"] = [{"targets": [node.address], "labels": {"instance": node.name}} for node in nodes]
        made["scrape_configs"] = [midplane]
        return made

    def run(self):
        self.process = Process(
            "prometheus",
            [
                tool("prometheus"),
                f"--config.file={self.directory}/prometheus.yml",
                f"--storage.tsdb.path={self.directory}/data",
                f"--web.listen-address={self.address}",
            ],
        )
        eventually("prometheus is ready", lambda: self._get("/-/ready").status == 200)
        self.began = int(time.time())
        self.look()
        return self

    def look(self):
        """Waits until every node has been scraped anew, or tried to be: what grows from now on is seen to grow."""
        begun = max(numbers(self.query("max(timestamp(up))")), default=0)
        seen = f"count(timestamp(up) > {begun}) == {self.targets}"
        eventually("scraped anew", lambda: numbers(self.query(seen)))

    def _get(self, path):
        return urllib.request.urlopen(f"http://{self.address}{path}", timeout=10)

    def ask(self, path, **parameters):
        """What the API answers; a query that it refuses is an assertion."""
        try:
            with self._get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}") as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def stop(self):
        self.process.stop()
