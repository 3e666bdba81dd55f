"""The plan store: an index and a pointer in a database, tables in folders. A plan is either wholly published or not at all.

The folder of a plan is renamed into place whole; then one transaction adds its row and moves the pointer. A reader follows the pointer, so it sees the
last good plan until the new one is there entirely. Folders that no row names are what a kill left behind; the next night removes them.
"""

import datetime as dt
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cdn.documents import json_text
from cdn.plan import replace_folder

POINTER = "current"
OURS = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}|\..+\.(tmp|old)")
"""Folders that the store may remove: plans, and what a kill left of one."""


class Base(DeclarativeBase):
    """Tables of the index."""


class PlanRow(Base):
    """A published plan."""

    __tablename__ = "plans"
    plan_id: Mapped[str] = mapped_column(primary_key=True)
    date: Mapped[str] = mapped_column(index=True)
    created: Mapped[str]
    fingerprint: Mapped[str]
    metrics: Mapped[str]


class PointerRow(Base):
    """Which plan is in force."""

    __tablename__ = "pointers"
    name: Mapped[str] = mapped_column(primary_key=True)
    plan_id: Mapped[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published plan: its name, day, folder, what it was made from (a hash), and its figures."""

    plan_id: str
    date: dt.date
    folder: Path
    fingerprint: str
    metrics: Mapping[str, Any]


class PlanStore:
    """Published plans under ``folder``; the index is SQLite there, or any database SQLAlchemy reaches by ``url``."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.engine: Engine = create_engine(url or f"sqlite:///{folder / 'index.db'}")
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _durable)
        Base.metadata.create_all(self.engine)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def current(self) -> Published | None:
        """The plan in force, or None before the first."""
        with Session(self.engine) as session:
            pointer = session.get(PointerRow, POINTER)
            row = session.get(PlanRow, pointer.plan_id) if pointer else None
            return None if row is None else self._published(row)

    def plans(self) -> list[Published]:
        """Every published plan, oldest first."""
        with Session(self.engine) as session:
            return [
                self._published(row)
                for row in session.scalars(select(PlanRow).order_by(PlanRow.created, PlanRow.plan_id))
            ]

    def publish(
        self, draft: Path, plan_id: str, date: dt.date, fingerprint: str, metrics: Mapping[str, Any]
    ) -> Published:
        """Move a finished plan folder into the store and put it in force.

        Parameters
        ----------
        draft
            A whole plan folder on the same file system; it is renamed.
        fingerprint
            Hash of everything the plan was made from.
        """
        sync(draft)
        replace_folder(draft, self.folder / plan_id)
        sync(self.folder, deep=False)
        now = dt.datetime.now(dt.UTC).isoformat()
        with Session(self.engine) as session, session.begin():
            row = PlanRow(
                plan_id=plan_id,
                date=date.isoformat(),
                created=now,
                fingerprint=fingerprint,
                metrics=json_text(metrics),
            )
            session.merge(row)
            session.merge(PointerRow(name=POINTER, plan_id=plan_id))
        return Published(
            plan_id=plan_id, date=date, folder=self.folder / plan_id, fingerprint=fingerprint, metrics=metrics
        )

    def put_in_force(self, plan_id: str) -> None:
        """Move the pointer to a plan that was published before."""
        with Session(self.engine) as session, session.begin():
            session.get_one(PlanRow, plan_id)
            session.merge(PointerRow(name=POINTER, plan_id=plan_id))

    def tidy(self, keep: int) -> list[str]:
        """Remove the oldest plans beyond ``keep`` (never the one in force) and folders that no row names; returns what went."""
        current = self.current()
        published = self.plans()
        surplus = [
            p.plan_id
            for p in published[: max(0, len(published) - keep)]
            if current is None or p.plan_id != current.plan_id
        ]
        with Session(self.engine) as session, session.begin():
            for plan_id in surplus:
                session.delete(session.get_one(PlanRow, plan_id))
        named = {p.plan_id for p in published} - set(surplus)
        orphans = [f for f in self.folder.iterdir() if f.is_dir() and OURS.fullmatch(f.name) and f.name not in named]
        for folder in orphans:
            shutil.rmtree(folder, ignore_errors=True)
        return [folder.name for folder in orphans]

    def _published(self, row: PlanRow) -> Published:
        return Published(
            plan_id=row.plan_id, date=dt.date.fromisoformat(row.date), folder=self.folder / row.plan_id,
            fingerprint=row.fingerprint, metrics=json.loads(row.metrics),
        )  # fmt: skip


def sync(folder: Path, *, deep: bool = True) -> None:
    """Ask the disk to keep a folder, and with ``deep`` all that is in it, before anything is said to be published."""
    for path in [*(folder.rglob("*") if deep else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
