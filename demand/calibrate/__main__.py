"""``python -m demand.calibrate DATA_FOLDER [-o laws.json]``."""

import argparse
from pathlib import Path

from demand.calibrate.fit import calibrate, write_laws
from topology.errors import InputError


def main() -> None:
    """Fit all laws and write them."""
    parser = argparse.ArgumentParser(prog="python -m demand.calibrate", description="Fit the laws of generated logs.")
    parser.add_argument("data", type=Path, help="folder with the published files (docs/workload.md lists them)")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[1] / "laws.json")
    arguments = parser.parse_args()
    try:
        write_laws(calibrate(arguments.data), arguments.output)
    except InputError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
