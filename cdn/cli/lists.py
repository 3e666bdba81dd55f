"""``fillplan forecast`` of a file of published lists: options read, one call, a table written."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cdn import console
from cdn.report.numbers import column, percents
from demand.forecast import save_forecaster
from demand.forecast.calendar import read_calendar
from demand.forecast.lists import (
    LIST_MODELS,
    ListForecast,
    ListModel,
    forecast_lists,
    load_list_model,
    make_list_model,
    read_lists_before,
    usual_list_model,
)
from demand.forecast.toplists import read_top_lists
from topology.errors import InputError, Problem
from topology.tables import write_table

LIST_ENDINGS = (".tsv", ".csv", ".gz", ".parquet")


def is_list_file(source: Path) -> bool:
    """Whether ``forecast`` is asked for published lists: of a file, or of a name of one that is not there."""
    return source.is_file() or (not source.exists() and source.name.endswith(LIST_ENDINGS))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What ``forecast`` was asked of a file of lists; None where an option was not given."""

    date: dt.date | None
    calendar: Path | None
    output: Path | None
    model: str | None
    origins: int
    save_model: Path | None
    load_model: Path | None


def run_list_forecast(source: Path, asked: ListOptions, as_json: bool) -> None:
    """Forecast the lists of a week, write them, and say how good such forecasts were."""
    _refuse_calendar(asked)
    if asked.output is None and asked.save_model is None and not asked.origins:
        message, mend = "nowhere to write the lists", "add -o next.csv, or ask for a backtest (--origins)"
        raise InputError(Problem(table="arguments", column="--output", message=message, mend=mend))
    with console.live(f"forecast lists of {source.name}") as show:
        model = _model(asked)
        calendar = None if asked.calendar is None else read_calendar(asked.calendar)
        lists = read_top_lists(source) if asked.date is None else read_lists_before(source, asked.date)
        made = forecast_lists(
            lists, calendar, model, fit=asked.load_model is None, origins=asked.origins, progress=show
        )
    if asked.output is not None:
        write_table(made.table, asked.output)
    if asked.save_model is not None:
        save_forecaster(made.fitted, asked.save_model)
    _emit(made, asked.output, as_json)


def _refuse_calendar(asked: ListOptions) -> None:
    """Raise InputError if the calendar does not go with the model that was chosen."""
    name, dated = asked.model, asked.calendar is not None
    if name in LIST_MODELS and dated != (name == "boosted-calendar"):
        message = f"{name} looks at no release calendar" if dated else f"{name} needs a release calendar"
        mend = "leave --calendar, or choose boosted-calendar" if dated else "add --calendar FILE, or choose boosted"
        raise InputError(Problem(table="arguments", column="--model", value=name, message=message, mend=mend))


def _model(asked: ListOptions) -> ListModel:
    if asked.load_model is not None:
        return load_list_model(asked.load_model)
    return make_list_model(asked.model or usual_list_model(dated=asked.calendar is not None))


def _emit(made: ListForecast, output: Path | None, as_json: bool) -> None:
    rows, table = made.backtest.to_dict("records"), made.table
    scores = console.columns(
        [
            ("backtest", [r["model"] for r in rows]),
            ("precision@10 %", percents([r["precision_at_10"] for r in rows])),
            ("NDCG@10", column([r["ndcg_at_10"] for r in rows], 3)),
            ("lists", [f"{r['lists']:,}" for r in rows]),
            ("s", column([r["seconds"] for r in rows], 3)),
        ]
    )
    lists, countries = len(table.drop_duplicates(["country", "category"])), table["country"].nunique()
    written = "" if output is None else f" -> {output}"
    summary = f"{made.fitted.name}: {len(table):,} places of {lists:,} lists of {countries:,} countries, the week that ends on {made.week}{written}"
    document = {"model": made.fitted.name, "week": made.week, "rows": len(table), "backtest": rows, "path": output}
    console.emit(document, as_json, [scores, summary] if rows else [summary])
