"""Encode mixes by kind of access: ``python -m benchmarks.abr ARCHIVE [-o encode_mix.json] [--json]``.

ARCHIVE is ``sabre_mmsys18_traces.tar.gz``: 3G, 4G and fixed-line traces. Each trace is played from 20 moments of it, 30 minutes each, over the default ladder.
With ``-o`` the mix is written as the project keeps it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from demand.bitrate import default_ladder
from sim.abr import read_sabre_traces
from sim.encode_mix import measure_mix, mix_document

SOURCE = "player of sim.abr over the 3G, 4G and fixed-line traces that come with Sabre (Spiteri, Sitaraman, Sparacio, MMSys 2018), Netflix's fixed ladder"


def main() -> None:
    """Print a row a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--each", type=int, default=20, help="sessions of each trace")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the document instead of a table")
    args = parser.parse_args()
    throughputs = read_sabre_traces(args.archive)
    ladder = default_ladder().bitrate_kbps
    measure_mix(throughputs, ladder, minutes=1, each=1, rng=np.random.default_rng(0))  # compiles
    began = time.process_time()
    mix = measure_mix(throughputs, ladder, minutes=args.minutes, each=args.each, rng=np.random.default_rng(args.seed))
    seconds = time.process_time() - began
    document = mix_document(mix, SOURCE)
    if args.output is not None:
        args.output.write_text(json.dumps(document, indent=1) + "\n")
    if args.json:
        print(json.dumps(document))
        return
    print(
        f"{'kind':9}{'mean kbps':>10}{'stalled':>9}{'switches/min':>13}{'start ms':>9}  share of the playing time by encode, kbit/s"
    )
    for k, kind in enumerate(mix.kinds):
        shares = " ".join(
            f"{rate}:{share:.1%}" for rate, share in zip(mix.bitrate_kbps, mix.share[k], strict=True) if share > 0.0005
        )
        print(
            f"{kind:9}{mix.mean_kbps[k]:>10.0f}{mix.rebuffer_ratio[k]:>9.3%}{mix.switches_per_minute[k]:>13.2f}{mix.startup_ms[k]:>9.0f}  {shares}"
        )
    print(f"{mix.sessions.sum() / seconds:,.0f} sessions of {args.minutes:g} minutes a second")


if __name__ == "__main__":
    main()
