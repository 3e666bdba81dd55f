"""The published Netflix files as they are: fits, matches between files, and a log that gives the lists back."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from demand.catalogue import read_catalogue
from demand.netflix import import_netflix
from demand.netflix.files import FILM, SERIES, read_published
from demand.netflix.ranks import fit_rank_laws
from demand.netflix.titles import slug_of
from demand.playback import log_frame, playback_dates, validate_playback
from topology.fleet import grow_fleet
from topology.importers import read_graphml, read_sndlib
from topology.network import read_network
from topology.tables import write_table

WEEK = dt.date(2022, 7, 31)


@pytest.fixture(scope="module")
def published(shared_data):
    return read_published(shared_data)


def put_network(folder, backbone):
    tables = grow_fleet(backbone, np.random.default_rng(0), catalogue_gb=1e4, peak_gbps=100, sites=8)
    for name, frame in tables.items():
        write_table(frame, folder / f"{name}.csv")


def test_the_files_are_whole_and_namibia_is_a_name(published):
    assert (len(published.lists), len(published.worldwide), len(published.engagement)) == (106_720, 10_560, 82_114)
    assert published.lists["country"].str.fullmatch("[A-Z]{2}").all()
    assert published.engagement["hours"].sum() == pytest.approx(466.79e9, rel=1e-4)
    assert published.engagement.groupby("first").size().size == 5


def test_the_rank_laws_give_the_mean_lists_back(published):
    laws = fit_rank_laws(published.worldwide, published.engagement)
    for kind, least in ((FILM, 0.999), (SERIES, 0.99)):
        law = laws[kind]
        assert law.r2 > least
        rows = published.worldwide[published.worldwide["kind"] == kind]
        tops = (
            rows.sort_values("hours", ascending=False)
            .groupby("week")["hours"]
            .apply(lambda h: (h[:10] / h[:10].sum()).to_numpy())
        )
        mean = np.mean(np.stack(tops.to_list()), axis=0)
        assert law.share(np.arange(1, 11)) / law.top_share == pytest.approx(mean, rel=0.2)
    assert 0.1 < laws[FILM].top_share + laws[SERIES].top_share < 0.2


def test_a_german_log_ranks_titles_as_the_german_lists_do(shared_data, published, tmp_path):
    put_network(tmp_path, read_sndlib(shared_data / "sndlib/sndlib-networks-xml.tar.xz:germany50"))
    counts = import_netflix(
        shared_data, tmp_path, country="DE", week=WEEK, weeks=2, titles=400, sessions_per_day=30_000
    )
    assert counts["titles"] == 400
    assert counts["days"] == 14
    network, catalogue = read_network(tmp_path), read_catalogue(tmp_path)
    problems = []
    validate_playback(tmp_path, network.region_ids, catalogue, problems)
    assert problems == []
    log = pd.concat([log_frame(tmp_path, date) for date in playback_dates(tmp_path)[7:]])
    hours = log.groupby(log["title"].astype(str))["seconds"].sum() / 3600
    titles = catalogue.titles.assign(hours=catalogue.titles["title"].map(hours).fillna(0.0))
    work = titles["title"].str.replace(r"-e\d{2,3}$", "", regex=True)  # a list counts every season apart
    by_work = titles.groupby([titles["kind"], work])["hours"].sum().sort_values(ascending=False)
    week = published.lists[(published.lists["country"] == "DE") & (published.lists["week"] == pd.Timestamp(WEEK))]
    assert set(titles.loc[work.isin(["manifest-season-1", "manifest-season-2"]), "series"]) == {"manifest"}
    for kind in (FILM, SERIES):
        drawn = by_work[kind].index[:10].to_list()
        listed = [slug_of(name) for name in week[week["kind"] == kind].sort_values("rank")["name"]]
        assert drawn[:3] == listed[:3]
        assert len(set(drawn) & set(listed)) >= 9
        assert (
            kendalltau(
                [listed.index(name) for name in drawn if name in listed], range(len(set(drawn) & set(listed)))
            ).statistic
            > 0.8
        )


def test_every_region_of_geant_follows_a_list_near_it(shared_data, tmp_path):
    put_network(tmp_path, read_graphml(shared_data / "topology_zoo/topology_zoo_graphml.tar.xz:Geant2009"))
    counts = import_netflix(shared_data, tmp_path, week=WEEK, weeks=1, titles=300, sessions_per_day=2_000)
    assert counts["countries"] > 30
    regions = read_network(tmp_path).regions.set_index("region")
    assert regions.loc["DE", "timezone"] == "Europe/Berlin"
    # internet users of 2022, in millions, by the World Bank: Germany 77, France 58, Malta 0.5
    assert regions.loc["DE", "subscribers"] == pytest.approx(77e6, rel=0.1)
    assert regions.loc["FR", "subscribers"] == pytest.approx(58e6, rel=0.1)
    assert regions.loc["MT", "subscribers"] == pytest.approx(0.46e6, rel=0.2)
