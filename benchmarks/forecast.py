"""How well next week's lists are forecast: ``python -m benchmarks.forecast --top10 FILE [--calendar FILE] [--origins N] [--json]``.

``--top10``: a Top 10 file by country (tab-separated, or .csv; also .gz). ``--calendar``: a release calendar, a CSV with the columns ``title``
and ``release_date`` and, optionally, ``kind`` (film or TV); Netflix's engagement report is one as it is. With it the default model knows which
titles come out in the week it forecasts; without it a model that does not is the default.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from demand.forecast.calendar import read_calendar
from demand.forecast.candidates import weekly_candidates
from demand.forecast.ranking import BoostedRanker, SameList, backtest_rankers
from demand.forecast.toplists import read_top_lists


def run_top10(path: Path, calendar: Path | None, origins: int, refit_every: int) -> dict[str, Any]:
    """Backtest the rankers on a file; the seconds of each include its candidates."""
    lists = read_top_lists(path)
    planned = None if calendar is None else read_calendar(calendar)
    default = BoostedRanker(name="boosted" if planned is None else "boosted-calendar")
    began = time.perf_counter()
    weeks = weekly_candidates(lists, planned)
    preparing = time.perf_counter() - began
    table = backtest_rankers(weeks, [SameList(), default], origins=origins, refit_every=refit_every)
    table["seconds"] += preparing
    models = {row.pop("model"): row for row in table.to_dict("records")}
    return {"default": default.name, "origins": origins, "last_week": str(lists.weeks[-1]), "models": models}


def main() -> None:
    """Print a row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top10", type=Path, required=True)
    parser.add_argument("--calendar", type=Path)
    parser.add_argument("--origins", type=int, default=20, help="weeks to forecast, back from the last")
    parser.add_argument("--refit-every", type=int, default=4, help="origins between two fits of a model")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    result = run_top10(args.top10, args.calendar, args.origins, args.refit_every)
    if args.json:
        print(json.dumps(result))
        return
    print(f"{'model':20} {'precision@10':>12} {'NDCG@10':>8} {'seconds':>8}")
    for name, row in result["models"].items():
        print(f"{name:20} {row['precision_at_10']:>12.4f} {row['ndcg_at_10']:>8.4f} {row['seconds']:>8.1f}")


if __name__ == "__main__":
    main()
