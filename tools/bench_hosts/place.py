"""What every section gets: the binaries, a directory of its own, and how much it measures."""

import dataclasses
import pathlib
import subprocess


@dataclasses.dataclass(frozen=True)
class Amounts:
    """How much the sections measure."""

    take_overs: int = 50
    # How many callers write at once, and how many writes of a kind each of them makes in a round.
    puts: tuple[tuple[int, int], ...] = ((1, 300), (16, 40), (64, 20))
    rounds: int = 3
    submissions: int = 20_000
    live: int = 100
    ended: tuple[int, ...] = (10, 1_000, 10_000)
    # Seconds for which the renewals of leases are counted.
    counted: float = 20


# So few of everything that a section only shows whether it works.
QUICK = Amounts(
    take_overs=2,
    puts=((1, 8), (4, 4)),
    rounds=2,
    submissions=50,
    live=2,
    ended=(2, 6, 12),
    counted=3,
)


@dataclasses.dataclass(frozen=True)
class Place:
    """One section's place."""

    binaries: pathlib.Path
    root: pathlib.Path
    amounts: Amounts

    def below(self, name: str) -> pathlib.Path:
        """A new directory, which no other part of the section uses."""
        made = self.root / name
        made.mkdir(parents=True)
        return made

    def example(self, name: str, env: dict[str, str], *arguments: str, seconds: float = 900) -> str:
        """Runs one of the workspace's example programs, and answers what the program prints."""
        command = [str(self.binaries / "examples" / name), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout
