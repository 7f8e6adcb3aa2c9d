"""A cluster with everything that dashboards show going on in it, and a Prometheus that scrapes it."""
