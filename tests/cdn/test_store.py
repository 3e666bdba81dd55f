"""The plan store: a plan is published wholly or not at all, and what is in force is never removed."""

import datetime as dt
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import NoResultFound

from cdn.store import Base, PlanStore

DAY = dt.date(2026, 1, 15)
POSTGRES = os.environ.get("FILLPLAN_TEST_POSTGRES", "")
"""URL of an empty PostgreSQL database; with it every test of the store runs there too."""


@pytest.fixture(params=["sqlite", *(["postgresql"] if POSTGRES else [])])
def store(request, tmp_path):
    opened = PlanStore(tmp_path / "plans", POSTGRES if request.param == "postgresql" else "")
    yield opened
    if request.param == "postgresql":
        Base.metadata.drop_all(opened.engine)
    opened.close()


def draft(store, text="plan"):
    folder = store.folder / ".work" / "draft"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"text": text}))
    return folder


def publish(store, i, day=DAY, text="plan"):
    plan_id = f"{day}-{i:08x}"
    return store.publish(draft(store, text), plan_id, day, f"fingerprint{i}", {"gap": 0.001 * i, "bound": float("inf")})


def test_before_the_first_plan_nothing_is_in_force(store):
    assert store.current() is None and store.plans() == [] and store.tidy(3) == []


def test_what_is_published_is_in_force(store):
    publish(store, 1)
    made = publish(store, 2)
    found = store.current()
    assert found is not None
    assert (found.plan_id, found.date, found.folder, found.fingerprint) == (
        made.plan_id,
        DAY,
        store.folder / made.plan_id,
        "fingerprint2",
    )
    assert found.metrics == {"gap": 0.002, "bound": None}
    assert json.loads((found.folder / "summary.json").read_text()) == {"text": "plan"}
    assert [p.fingerprint for p in store.plans()] == ["fingerprint1", "fingerprint2"]


def test_an_earlier_plan_can_be_put_in_force_again(store):
    first = publish(store, 1)
    publish(store, 2)
    store.put_in_force(first.plan_id)
    assert store.current().plan_id == first.plan_id
    with pytest.raises(NoResultFound):
        store.put_in_force("never published")
    assert store.current().plan_id == first.plan_id


def test_a_failure_before_the_transaction_leaves_the_last_plan(store, monkeypatch):
    first = publish(store, 1)
    monkeypatch.setattr("cdn.store.Session", lambda engine: (_ for _ in ()).throw(OSError("power")))
    with pytest.raises(OSError, match="power"):
        publish(store, 2)
    monkeypatch.undo()
    assert store.current().plan_id == first.plan_id
    left = store.folder / f"{DAY}-{2:08x}"
    assert left.is_dir()
    assert store.tidy(10) == [left.name] and not left.exists()


def test_what_a_kill_left_is_published_over(store):
    (store.folder / f"{DAY}-{1:08x}").mkdir()
    publish(store, 1)
    assert json.loads((store.current().folder / "summary.json").read_text()) == {"text": "plan"}


def test_tidy_keeps_the_newest_and_never_removes_the_one_in_force(store):
    made = [publish(store, i) for i in range(6)]
    store.put_in_force(made[1].plan_id)
    gone = store.tidy(2)
    assert sorted(gone) == sorted(p.plan_id for p in (made[0], made[2], made[3]))
    assert [p.plan_id for p in store.plans()] == [made[i].plan_id for i in (1, 4, 5)]
    assert store.current().folder.is_dir()
    assert all(p.folder.is_dir() for p in store.plans())
    for keep in (1, 1):
        store.tidy(keep)
    assert {p.plan_id for p in store.plans()} == {made[1].plan_id, made[5].plan_id}


def test_tidy_removes_nothing_that_is_not_the_stores(store):
    publish(store, 1)
    for name in ("my own", "2026-01-15", ".work", "2026-01-15-notes"):
        (store.folder / name).mkdir(exist_ok=True)
    for name in (f".{DAY}-00000009.77.tmp", f".{DAY}-00000009.77.old"):
        (store.folder / name).mkdir()
    assert sorted(store.tidy(5)) == sorted((f".{DAY}-00000009.77.tmp", f".{DAY}-00000009.77.old"))
    assert (store.folder / "my own").is_dir()


def test_a_reader_always_sees_a_whole_plan(store):
    """Publishes while others follow the pointer: what they find must be there and whole."""
    publish(store, 0)

    def follow(_):
        found = store.current()
        return (
            json.loads((found.folder / "summary.json").read_text())["text"] == str(int(found.fingerprint[11:]))
            or found.fingerprint == "fingerprint0"
        )

    with ThreadPoolExecutor(2) as readers:
        for i in range(1, 8):
            results = [readers.submit(follow, i) for _ in range(6)]
            publish(store, i, text=str(i))
            assert all(r.result() for r in results)


def test_the_index_is_one_sqlite_file_that_survives(tmp_path):
    store = PlanStore(tmp_path / "plans")
    publish(store, 1)
    store.close()
    with sqlite3.connect(tmp_path / "plans/index.db") as connection:
        assert connection.execute("SELECT name, plan_id FROM pointers").fetchall() == [("current", f"{DAY}-{1:08x}")]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    again = PlanStore(tmp_path / "plans")
    assert again.current().plan_id == f"{DAY}-{1:08x}"
    again.close()


def test_the_index_may_lie_elsewhere(tmp_path):
    store = PlanStore(tmp_path / "plans", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    publish(store, 1)
    store.close()
    assert not (tmp_path / "plans/index.db").exists()
    assert (tmp_path / "elsewhere.db").is_file()
