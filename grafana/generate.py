#!/usr/bin/env python3
"""Writes the dashboards: `python3 grafana/generate.py` makes grafana/dashboards/*.json from grafana/boards/*.py.

Needs nothing but Python. The JSON is committed, and a test holds that it is what this makes.
"""

import json
from pathlib import Path

from boards import clients, delivery, nats, node, overview

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = (overview, delivery, node, nats, clients)


def made():
    """The content of each file, by its name."""
    boards = [module.board() for module in BOARDS]
    return {
        f"{board['uid'].removeprefix('midplane-')}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        for board in boards
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, text in made().items():
        (FOLDER / name).write_text(text)
