"""What the submitting process costs: `mainspring run -d` against `flink run -d`.

Both submit into the same session cluster of Flink's own. CPU is the process's own (wait4), from its
start to its exit. The bytes of the jar follow from the kernel's count of what a process reads
(/proc/PID/io, rchar, asked of the zombie): the same program is submitted once in a small jar and
once in a jar that holds 64 MiB of noise beside it, and the difference is what was read of the jar.
Reads through mmap are not in that count; they would show in the CPU seconds. `flink run` is
measured without its shell scripts, which start one more JVM to read the configuration.

The work does not vanish, because mainspring reads the jar and runs main() in processes of the host.
So the CPU of the whole machine is shown beside that of the process, from the command's start until
the session cluster has finished the job."""

import os
import pathlib
import shutil
import statistics
import zipfile

import rest
from bench import Bench, ratio, shown
from machine import busy, cost, eventually
from native import Native
from wordcount import CLASS

MIB = 1 << 20
NOISE = 64 * MIB


def finished(address: str) -> int:
    """How many jobs the session cluster has finished."""
    return sum(job["status"] == "FINISHED" for job in rest.ask(address, "/jobs")["jobs"])


def with_noise(jar: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """Copies a jar, and adds 64 MiB of noise to the copy."""
    big = into / "with-noise.jar"
    shutil.copy(jar, big)
    with zipfile.ZipFile(big, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("noise", os.urandom(NOISE))
    return big


def run(bench: Bench) -> None:
    """Prints the costs of both sides, by jar."""
    cluster = Native(bench.home, bench.place("session"))
    big = with_noise(bench.examples, bench.root)
    log = bench.place("submission.log")
    with bench.host() as host:
        try:
            cluster.start(None)
            address = cluster.rest()
            eventually("the session cluster has a TaskManager", lambda: rest.ask(address, "/taskmanagers")["taskmanagers"])
            ours = [host.binary, "run", "-d", "-t", "static", "-m", address, "-c", CLASS]
            theirs = [bench.home.java, *bench.home.opens, "-cp", ":".join(bench.home.libraries()),
                      "org.apache.flink.client.cli.CliFrontend", "run", "-d", "-m", address, "-c", CLASS]
            conf = {"FLINK_CONF_DIR": str(next(cluster.root.glob("life-*/conf-0")))}

            def submitted(command: list[str], env: dict[str, str], jar: pathlib.Path) -> dict[str, float]:
                before, cpu = finished(address), busy()
                spent = cost([*command, str(jar)], env, log)
                eventually("the job has finished", lambda: finished(address) > before)
                return spent | {"machine": busy() - cpu}

            sides = {
                (name, size): lambda command=command, env=env, jar=jar: submitted(command, env, jar)
                for size, jar in [("small", bench.examples), ("large", big)]
                for name, command, env in [("mainspring", ours, host.env), ("flink", theirs, os.environ | conf)]
            }
            # The first submission of each side warms caches and starts the host.
            for key in [("mainspring", "small"), ("flink", "small")]:
                sides[key]()
            figures = bench.in_turn(sides)
        finally:
            cluster.end()
    of = lambda side, what: [figure[what] for figure in figures[side]]  # noqa: E731
    for (name, size), values in figures.items():
        jar = (bench.examples if size == "small" else big).stat().st_size / MIB
        print(f"    {name:<10} jar of {jar:5.1f} MiB: process {shown(of((name, size), 'cpu'), 'CPU-s', 3)}, wall p50 "
              f"{statistics.median(of((name, size), 'wall')):.2f} s; machine until the job's end p50 {statistics.median(of((name, size), 'machine')):.2f} CPU-s")
    for name in ["mainspring", "flink"]:
        more = statistics.median(large - small for small, large in zip(of((name, "small"), "read"), of((name, "large"), "read")))
        print(f"    {name:<10} reads {statistics.median(of((name, 'small'), 'read')) / MIB:.2f} MiB of anything; "
              f"of 64 MiB more in the jar it reads {more / MIB:.2f} MiB")
    for size in ["small", "large"]:
        print(f"    ratio of pairs, CPU of the process, {size} jar: {ratio(of(('mainspring', size), 'cpu'), of(('flink', size), 'cpu')):.3f}")
