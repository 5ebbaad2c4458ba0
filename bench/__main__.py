"""`python -m bench [core|minicluster|lookup]`: one benchmark, or all of them."""

import sys
import tempfile
from pathlib import Path

from bench import core, lookup, minicluster
from bench.report import print_conditions

BENCHMARKS = {"core": core.run, "minicluster": minicluster.run, "lookup": lookup.run}


def main(names: list[str]) -> int:
    """Run the named benchmarks in turn, each in a folder that goes with it."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        known = ", ".join(BENCHMARKS)
        print(f"error: no benchmark {', '.join(unknown)}; there are {known}", file=sys.stderr)
        return 2
    print_conditions()
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="segstream-bench-") as folder:
            BENCHMARKS[name](Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
