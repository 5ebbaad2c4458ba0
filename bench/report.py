"""How results are shown: the conditions once, then a table a benchmark."""

import os
import platform
from collections.abc import Sequence


def print_conditions() -> None:
    """Say what the figures were measured on."""
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} CPUs ({platform.machine()}, {platform.system()}),"
        f" {platform.python_implementation()} {platform.python_version()},"
        f" load average {load:.2f} at the start"
    )


def print_table(
    title: str, notes: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table: the first column to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"\n{title}")
    for note in notes:
        print(f"  {note}")
    for line in (header, ["-" * width for width in widths], *rows):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells), flush=True)


def progress(text: str) -> None:
    """Say what is being measured now."""
    print(f"  ... {text}", flush=True)
