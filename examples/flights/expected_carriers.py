#!/usr/bin/env python3
"""What carriers.sql has to answer, computed without any SQL engine, by Python's csv module and
whole numbers.

    python3 expected_carriers.py            CSV with a header line
    python3 expected_carriers.py --json     a list of objects with the same keys

`mean` and `p90` are rounded half away from zero to one decimal, as SQL's `round` does.
"""

import collections
import csv
import fractions
import json
import math
import pathlib
import sys

DATA = pathlib.Path(__file__).resolve().parent / "flights-2013-01.csv"


def tenths(exact: fractions.Fraction) -> float:
    """`exact` rounded half away from zero to one decimal."""
    whole = math.floor(abs(exact) * 10 + fractions.Fraction(1, 2))
    return math.copysign(whole, exact) / 10 if whole else 0.0


def percentile(values: list[int], share: fractions.Fraction) -> fractions.Fraction:
    """The continuous percentile of the SQL standard: between two neighbours, in proportion."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def carriers() -> list[dict]:
    """One row per carrier, the busiest first."""
    flights = collections.Counter()
    cancelled = collections.Counter()
    delays = collections.defaultdict(list)
    with DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            carrier = row["carrier"]
            flights[carrier] += 1
            cancelled[carrier] += row["dep_time"] == ""
            if row["arr_delay"]:
                delays[carrier].append(int(row["arr_delay"]))
    return [
        {
            "carrier": carrier,
            "flights": count,
            "mean": tenths(fractions.Fraction(sum(delays[carrier]), len(delays[carrier]))),
            "p90": tenths(percentile(delays[carrier], fractions.Fraction(9, 10))),
            "cancelled": cancelled[carrier],
        }
        for carrier, count in sorted(flights.items(), key=lambda item: (-item[1], item[0]))
    ]


def main() -> None:
    """Prints the answer."""
    answer = carriers()
    if sys.argv[1:] == ["--json"]:
        print(json.dumps(answer, indent=2))
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        out = csv.DictWriter(sys.stdout, answer[0].keys(), lineterminator="\n")
        out.writeheader()
        out.writerows(answer)


if __name__ == "__main__":
    main()
