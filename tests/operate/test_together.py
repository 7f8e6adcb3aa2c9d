"""What is configured in one file is what another one means."""

import re
import tomllib

import yaml

from rules import PROJECT


def load(path):
    return yaml.safe_load((PROJECT / path).read_text())


SERVICES = load("compose.yaml")["services"]
TARGETS = {
    target
    for name in ("prometheus", "prometheus.scaled")
    for job in load(f"prometheus/{name}.yml")["scrape_configs"]
    if job["job_name"] == "midplane"
    for group in job["static_configs"]
    for target in group["targets"]
}


def test_prometheus_scrapes_the_nodes_of_compose_where_they_listen():
    nodes = {name: service for name, service in SERVICES.items() if name.startswith("gateway-")}
    assert TARGETS == {f"{name}:{node['environment']['PORT']}" for name, node in nodes.items()}


def test_nodes_beside_them_are_found_by_the_name_that_compose_gives_them():
    job = load("prometheus/prometheus.scaled.yml")["scrape_configs"][0]
    assert [found["names"] for found in job["dns_sd_configs"]] == [["gateway"]]
    assert "gateway" in SERVICES
    assert {f"gateway:{found['port']}" for found in job["dns_sd_configs"]} == {
        f"gateway:{SERVICES['gateway']['environment']['PORT']}"
    }


def test_grafana_finds_prometheus_and_the_dashboards():
    source = load("grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in SERVICES
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    provider = load("grafana/provisioning/dashboards/midplane.yml")["providers"][0]
    assert provider["options"]["path"] == mounts["./grafana/dashboards"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (PROJECT / "grafana/dashboards" / home.removeprefix(provider["options"]["path"] + "/")).exists()


def test_as_many_nodes_are_expected_as_compose_starts():
    rules = [rule for group in load("prometheus/rules/expectations.yml")["groups"] for rule in group["rules"]]
    expected = next(rule["expr"] for rule in rules if rule["record"] == "job:midplane_expected_nodes:max")
    assert expected == f"vector({len(TARGETS)})"


def test_the_canary_has_time_to_be_scraped_before_it_is_missed():
    defaults = tomllib.loads((PROJECT / "src/settings/defaults.toml").read_text())
    rule = next(
        rule
        for group in load("prometheus/rules/delivery.yml")["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "MidplaneDeliveryCanaryFailing"
    )
    patience = int(re.search(r"> (\d+)\n", rule["expr"])[1])
    word = int(defaults["canary"]["interval"].removesuffix("s"))
    for name in ("prometheus", "prometheus.scaled"):
        scrape = int(load(f"prometheus/{name}.yml")["global"]["scrape_interval"].removesuffix("s"))
        assert word + scrape + 2 <= patience < 10
