"""What each alert does with series that are made up: for every alert at least one case in which it fires, and one in
which it does not.

A case says what is scraped every fifteen seconds, in promtool's notation: `1x8` is a 1 that comes again eight times,
`0+10x8` grows by ten, `_` is a scrape that failed. Series are of the job midplane unless they say otherwise.
"""


class Case:
    """Series, and whether the alert fires at some time; `labels` are those that it then has besides job and severity."""

    def __init__(self, what, fires, at, series, labels=None):
        self.what, self.fires, self.at, self.labels = what, fires, at, labels or {}
        self.series = [{"series": of_our_job(name), "values": values} for name, values in series.items()]


def of_our_job(name):
    if "job=" in name:
        return name
    return name.replace("{", '{job="midplane",', 1) if "{" in name else name + '{job="midplane"}'


def fires(what, at, series, **labels):
    return Case(what, True, at, series, labels)


def quiet(what, at, series):
    return Case(what, False, at, series)
