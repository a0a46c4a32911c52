"""How long an application is without a leader, and without its main(), after its leader was lost.

Two hosts have one record on etcd, and each has a contender of the application, whose main() notes
its start with its first line and sleeps. The time of leadership is that of the event in the record;
the time of work is that of the file which main() makes. Both are counted from just before the
signal. Each run is an application of its own."""

import math
import os
import signal
import time
from datetime import datetime

from bench_flink.machine import eventually

from bench_hosts.deployment import Deployment, deployed
from bench_hosts.figures import judged, quantile, shown
from bench_hosts.host import Host
from bench_hosts.place import Place

# How long a take-over may last before it counts as none.
PATIENCE = 60

# Seconds that contenders which have just been started get until they stand by, with all fetched.
SETTLED = 1.0

MAIN = """#!/bin/sh
: > "$1/$MAINSPRING_APPLICATION-$MAINSPRING_EPOCH"
exec sleep 3600
"""


class Runs:
    """Applications on a deployment, each of which loses one leader."""

    def __init__(self, deployment: Deployment):
        self.deployment = deployment
        self.program, self.starts = deployment.shared / "main", deployment.shared / "starts"
        self.program.write_text(MAIN)
        self.program.chmod(0o755)
        self.starts.mkdir()
        self.number = 0

    def run(self, lose) -> tuple[float, float]:
        """Seconds until another one leads, and until main() has begun again, after `lose`."""
        self.number += 1
        name = f"run-{self.number}"
        first = self.deployment.hosts[0]
        of_main = [str(self.program), str(self.starts)]
        first.call("run", "-d", "--application-id", name, "--contenders", "2", *of_main)
        eventually("main() has begun", lambda: self._started(name))
        for host in self.deployment.hosts:
            eventually("each host has a contender", lambda host=host: host.contenders(name))
        time.sleep(SETTLED)
        leadership = first.status(name)["leadership"]
        epoch, leader = int(leadership["epoch"]), self.deployment.host(leadership["host"])
        other = next(host for host in self.deployment.hosts if host is not leader)
        begun = lose(leader, int(leadership["leaderPid"]))
        try:
            return self._taken_over(name, other, epoch, begun)
        finally:
            if not leader.alive():
                leader.up()
            other.call("cancel", name)
            # The exit code is that of a cancelled application.
            other.call("wait", name, "--for", "clean", codes=(0, 3))

    def _taken_over(self, name: str, other: Host, epoch: int, begun: float) -> tuple[float, float]:
        has_begun = lambda: max(self._started(name)) > epoch  # noqa: E731
        try:
            eventually("main() has begun again", has_begun, PATIENCE, 0.002)
        except TimeoutError:
            return math.inf, math.inf
        events = [event for event in other.events(name) if event["kind"] == "leader"]
        led = {int(event["epoch"]): moment(event["at"]) for event in events}
        # A leader that is lost again before its main() begins counts for the leadership alone.
        return tuple(first_after(epoch, times) - begun for times in (led, self._started(name)))

    def _started(self, name: str) -> dict[int, float]:
        """When main() has begun, by epoch."""
        files = self.starts.glob(f"{name}-*")
        return {int(file.name.rpartition("-")[2]): file.stat().st_mtime for file in files}


def first_after(epoch: int, times: dict[int, float]) -> float:
    """The time that belongs to the lowest epoch above this one."""
    return times[min(later for later in times if later > epoch)]


def moment(text: str) -> float:
    """A time of the record, whose fraction may have nine digits, in seconds since 1970."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def signalled(sent: signal.Signals):
    """Loses a leader by a signal to its runner."""

    def lose(_: Host, pid: int) -> float:
        begun = time.time()
        os.kill(pid, sent)
        return begun

    return lose


def host_lost(leader: Host, _: int) -> float:
    """Loses a leader with all that runs on its host."""
    return leader.kill()


def told(what: str, figures: list[tuple[float, float]], goals: tuple[str, str]) -> None:
    """Prints the times of leadership and of work, each with its goal."""
    print(f"take-over, {what}:")
    for name, values, goal in zip(("leads", "main()"), zip(*figures), goals):
        print(f"    {name:<7} {shown(list(values), digits=3)}   {goal}", flush=True)


def goals(figures: list[tuple[float, float]], part: float, most: float) -> tuple[str, str]:
    """Whether leadership, and whether work, is back in time."""
    what = "p99" if part < 1 else "max"
    reached = [quantile(list(values), part) for values in zip(*figures)]
    return tuple(judged(value, "≤", most, what, "s") for value in reached)


def run(place: Place) -> None:
    """Prints how long take-overs last, by how the leader was lost."""
    count = place.amounts.take_overs
    for lease in [2, 5]:
        settings = {"MAINSPRING_LEASE_MS": str(lease * 1000)}
        with deployed(place.binaries, place.below(f"{lease}"), 2, settings) as deployment:
            runs = Runs(deployment)
            if lease == 2:
                figures = [runs.run(signalled(signal.SIGTERM)) for _ in range(count)]
                told("SIGTERM of the leading runner", figures, goals(figures, 0.99, 0.3))
                figures = [runs.run(signalled(signal.SIGKILL)) for _ in range(count)]
                what = "kill -9 of the leading runner, its elector alive"
                told(what, figures, goals(figures, 1, 1))
            figures = [runs.run(host_lost) for _ in range(count)]
            leads, _ = goals(figures, 1, lease + 0.6)
            told(f"the leader's host lost, leases of {lease} s", figures, (leads, ""))
