#!/usr/bin/env python3
"""Proves ARCHITECTURE's "Invariants of absence", as far as sources and manifests show them.

    python3 tools/absences [ROOT]

prints each thing that is where it must not be, and exits with 1 if there is any. What may be where,
and why, is the data of `table.py`. `make check` runs this program, and `test_absences.py` plants
each fault.
"""

import argparse
import pathlib
import sys

import rules
from sources import Tree

HERE = pathlib.Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Reads the tree, judges it and prints what is wrong."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=HERE)
    found = rules.check(Tree(parser.parse_args().root))
    for wrong in found:
        print(wrong, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
