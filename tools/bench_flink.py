#!/usr/bin/env python3
"""A Flink jar through mainspring and through Flink's own standalone application mode, in turn, in one go.

    python3 tools/bench_flink.py --bin target/release --jar flink-examples-streaming-2.3.0.jar [--runs 5]

Wall time is command to exit. CPU is that of the whole machine meanwhile (/proc/stat), so nothing else may run: the processes of both sides outlive or
precede the command, and this counts them all. Both sides have the same memory settings and one TaskManager with four slots.
"""

import argparse
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CLASS = "org.apache.flink.streaming.examples.wordcount.WordCount"
MIB = 1 << 20
# What mainspring gives by default, and Flink is given here: sizes in MiB.
HEAP_JOBMANAGER, HEAP_TASKMANAGER, DIRECT_TASKMANAGER, METASPACE = 1024, 480, 288, 256
MEMORY = {
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "352m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "160m",
    "taskmanager.memory.network.max": "160m",
    "taskmanager.memory.managed.size": "512m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    "taskmanager.cpu.cores": "4.0",
    "taskmanager.numberOfTaskSlots": "4",
}


def busy() -> float:
    """CPU seconds that this machine has spent on anything since it started."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Ours:
    """`mainspring run`, host up."""

    def __init__(self, binaries: pathlib.Path, root: pathlib.Path, jar: pathlib.Path):
        self.command = [str(binaries / "mainspring"), "run", "-q", "-t", "local", "-c", CLASS, str(jar)]
        self.down = [str(binaries / "mainspring"), "down", "--yes"]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_")}
        self.env |= {"MAINSPRING_STATE_DIR": str(root / "state"), "MAINSPRING_HOST_LINGER": "10m", "NO_COLOR": "1"}

    def run(self) -> None:
        done = subprocess.run(self.command, env=self.env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"mainspring: exit {done.returncode}\n{done.stderr}")

    def end(self) -> None:
        subprocess.run(self.down, env=self.env, capture_output=True, timeout=60)


class Theirs:
    """`StandaloneApplicationClusterEntryPoint` and a TaskManager, started together; the job's end ends the first."""

    def __init__(self, home: pathlib.Path, java: str, flags: list[str], root: pathlib.Path, jar: pathlib.Path):
        libraries = sorted(str(library) for library in (home / "lib").glob("*.jar"))
        self.base = [java, *flags, "-cp", ":".join([*libraries, str(jar)])]
        self.root = root / "flink"
        self.conf = self.root / "conf"
        self.conf.mkdir(parents=True)

    def run(self) -> None:
        rpc, rest = free_port(), free_port()
        settings = MEMORY | {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": str(rpc),
            "rest.port": str(rest),
            "rest.address": "127.0.0.1",
            "execution.attached": "true",
            "io.tmp.dirs": str(self.root / "tmp"),
        }
        (self.root / "tmp").mkdir(exist_ok=True)
        (self.conf / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        jobmanager = [f"-Xmx{HEAP_JOBMANAGER}m", f"-Xms{HEAP_JOBMANAGER}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]
        taskmanager = [f"-Xmx{HEAP_TASKMANAGER}m", f"-Xms{HEAP_TASKMANAGER}m",
                       f"-XX:MaxDirectMemorySize={DIRECT_TASKMANAGER}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]
        with open(self.root / "log", "ab") as log:
            def start(flags: list[str], *rest: str) -> subprocess.Popen:
                command = [self.base[0], *flags, *self.base[1:], *rest, "--configDir", str(self.conf)]
                return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.root)

            worker = start(taskmanager, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner")
            cluster = start(jobmanager, "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint",
                            "--job-classname", CLASS)
            try:
                code = cluster.wait(timeout=300)
            finally:
                cluster.kill()
                worker.kill()
                worker.wait()
        if code != 0:
            sys.exit(f"Flink's own application mode: exit {code}, see {self.root / 'log'}")

    def end(self) -> None:
        """Everything has ended with its run."""


def measured(side) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    wall, cpu = time.monotonic(), busy()
    side.run()
    return time.monotonic() - wall, busy() - cpu


def jvm(binaries: pathlib.Path) -> tuple[str, pathlib.Path, list[str]]:
    """Java, the Flink home and the flags that Flink's own configuration opens its libraries with."""
    printed = subprocess.run([str(binaries / "examples" / "jvm_arguments"), "jobmanager", "1"], capture_output=True, text=True, check=True)
    lines = printed.stdout.splitlines()
    opens = [line for line in lines if line.startswith(("--add-opens", "--add-exports"))]
    first = lines[lines.index("-cp") + 1].split(":")[0]
    return lines[0], pathlib.Path(first).parent, opens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="directory of mainspring, mainspring-flink and examples/jvm_arguments")
    parser.add_argument("--jar", type=pathlib.Path, required=True, help="flink-examples-streaming 2.3.0")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    binaries, jar = args.bin.resolve(), args.jar.resolve()
    java, home, opens = jvm(binaries)
    with tempfile.TemporaryDirectory(prefix="ms-bench-") as directory:
        root = pathlib.Path(directory)
        sides = {"mainspring": Ours(binaries, root, jar), "flink": Theirs(home, java, opens, root, jar)}
        # The first of each warms caches and starts the host.
        for side in sides.values():
            side.run()
        figures = {name: [] for name in sides}
        try:
            for _ in range(args.runs):
                for name, side in sides.items():
                    figures[name].append(measured(side))
        finally:
            for side in sides.values():
                side.end()
    for name, pairs in figures.items():
        walls, cpus = zip(*pairs)
        print(f"WordCount, {name:<10} wall p50 {statistics.median(walls):.2f} s (min {min(walls):.2f}), "
              f"CPU p50 {statistics.median(cpus):.2f} s (n={len(pairs)})")
    for index, what in enumerate(["wall", "CPU"]):
        ratio = statistics.median(ours[index] / theirs[index] for ours, theirs in zip(figures["mainspring"], figures["flink"]))
        print(f"ratio of pairs, {what}: {ratio:.2f}   goal 0.45")


if __name__ == "__main__":
    main()
