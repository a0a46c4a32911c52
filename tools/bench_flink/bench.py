"""What every section of the benchmark uses: the places of files, a host, and runs in turn."""

import contextlib
import dataclasses
import pathlib
import statistics
from collections.abc import Iterator

from home import Home
from ours import Ours


@dataclasses.dataclass(frozen=True)
class Bench:
    """One run of the benchmark."""

    binaries: pathlib.Path
    examples: pathlib.Path
    # The jar of e2e/java/ExactlyOnce.java.
    counting: pathlib.Path
    # The jar of Endless.java.
    endless: pathlib.Path
    home: Home
    root: pathlib.Path
    runs: int
    seconds: float
    warm: float

    def place(self, name: str) -> pathlib.Path:
        """A directory that no other part of the benchmark uses."""
        return self.root / name

    @contextlib.contextmanager
    def host(self, *options: str) -> Iterator[Ours]:
        """A host of mainspring, which is ended afterwards."""
        host = Ours(self.binaries, self.root, options)
        try:
            yield host
        finally:
            host.down()

    def in_turn(self, sides: dict) -> dict[str, list]:
        """What each side measures: the sides run one after the other, `runs` times."""
        figures = {name: [] for name in sides}
        for _ in range(self.runs):
            for name, measure in sides.items():
                figures[name].append(measure())
        return figures


def shown(values: list[float], unit: str = "s", digits: int = 2) -> str:
    """Median, minimum, maximum and number of the values."""
    return (f"p50 {statistics.median(values):.{digits}f} {unit} (min {min(values):.{digits}f}, "
            f"max {max(values):.{digits}f}, n={len(values)})")


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the pairs' ratios."""
    return statistics.median(one / other for one, other in zip(ours, theirs))
