"""One evening at the command line: every verb run once on a small network, for the tests that look at what came out."""

import dataclasses
from pathlib import Path

import pandas as pd

from tests.command import Ran, fillplan

NIGHT = "2026-01-08"
NEW = "new net --topology sndlib/polska --sites 4 --regions 6 --titles 30 --days 8 --sessions-per-day 1500 --seed 3 --json"
SCENARIO = """
[[scenario]]
name = "twice the storage, a title promoted"
plan = "replan"
[[scenario.site]]
site = "SITE"
storage_factor = 2.0
[[scenario.promote]]
title = "TITLE"
share = 0.2

[[scenario]]
name = "a site down"
[[scenario.site]]
site = "SITE"
down = true
"""


@dataclasses.dataclass(frozen=True)
class Evening:
    """A sample network after one run of every verb with ``--json``."""

    folder: Path
    ran: dict[str, Ran]
    site: str
    file: str


def spend_evening(folder: Path) -> Evening:
    """Make a network in ``folder`` and run every verb on it."""
    ran = {"new": fillplan(NEW, cwd=folder)}
    site = pd.read_csv(folder / "net/sites.csv").query("kind != 'origin'")["site"].iloc[0]
    files = pd.read_csv(folder / "net/files.csv")
    (folder / "scenario.toml").write_text(SCENARIO.replace("SITE", site).replace("TITLE", files["title"].iloc[0]))
    for line in (
        "check net",
        f"forecast net --for {NIGHT} -o demand.parquet --origins 2",
        "place net --demand demand.parquet -o plan",
        "verify net --demand demand.parquet plan",
        f"fill net plan --for {NIGHT}",
        f"simulate net --plan plan --playback {NIGHT} -o tables",
        "whatif net scenario.toml --plan plan --replications 2",
        f"nightly net --for {NIGHT}",
        "report net -o report.html",
        f"explain net plan --site {site} --file {files['file'].iloc[0]}",
    ):
        ran[line.split()[0]] = fillplan(line, "--json", cwd=folder)
    return Evening(folder, ran, site, files["file"].iloc[0])
