"""`python -m bench [NAME ...]`: the benchmarks named, or all of them."""

import argparse
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench import cluster, core, freshness, lookup, minicluster, store
from bench.report import print_conditions

BENCHMARKS = {
    "core": core.run,
    "minicluster": minicluster.run,
    "lookup": lookup.run,
    "store": store.run,
    "freshness": freshness.run,
    "cluster": cluster.run,
}


def main() -> int:
    """Run the named benchmarks in turn, each in a folder that goes with it."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--only", default="", help="cluster: these jobs, with commas between")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    only = tuple(name for name in arguments.only.split(",") if name)
    # The servers that a benchmark has started are to end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    benchmarks = {**BENCHMARKS, "cluster": partial(cluster.run, only=only)}
    print_conditions()
    for name in arguments.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="segstream-bench-") as folder:
            benchmarks[name](Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
