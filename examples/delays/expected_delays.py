#!/usr/bin/env python3
"""What the application `delays` has to print, computed without any SQL engine, by Python's csv
module and whole numbers.

    python3 expected_delays.py [--column COLUMN]            the table, as delays prints it
    python3 expected_delays.py [--column COLUMN] --json     a list of objects

`mean` is rounded half away from zero to one decimal, as SQL's `round` does.
"""

import argparse
import collections
import csv
import fractions
import json
import math
import pathlib

DATA = pathlib.Path(__file__).resolve().parent.parent / "flights" / "flights-2013-01.csv"
LATE_MINUTES = 15


def tenths(exact: fractions.Fraction) -> float:
    """`exact` rounded half away from zero to one decimal."""
    whole = math.floor(abs(exact) * 10 + fractions.Fraction(1, 2))
    return math.copysign(whole, exact) / 10 if whole else 0.0


def by_hour(column: str = "dep_delay") -> list[dict]:
    """One row per hour of scheduled departure, for flights whose delay is known."""
    delays = collections.defaultdict(list)
    with DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row[column]:
                delays[int(row["sched_dep_time"]) // 100].append(int(row[column]))
    return [
        {
            "hour": hour,
            "flights": len(known),
            "mean": tenths(fractions.Fraction(sum(known), len(known))),
            "late": sum(minutes > LATE_MINUTES for minutes in known),
        }
        for hour, known in sorted(delays.items())
    ]


def table(rows: list[dict]) -> str:
    """The rows as aligned text, numbers to the right."""
    cells = [list(rows[0])] + [[str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [" | ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in cells]
    # Headings are aligned as numbers are.
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:], f"({len(rows)} rows)"])


def main() -> None:
    """Prints the answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--column", default="dep_delay")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = by_hour(given.column)
    print(json.dumps(rows, indent=2) if given.json else table(rows))


if __name__ == "__main__":
    main()
