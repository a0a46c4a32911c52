"""Applications through mainspring, on a host of its own."""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys

from home import Program
from machine import command_lines, eventually, jvm
from native import SESSION, WORKER


class Ours:
    """`mainspring` with a state directory of its own."""

    def __init__(self, binaries: pathlib.Path, root: pathlib.Path, options: tuple[str, ...] = ()):
        self.binary, self.options = str(binaries / "mainspring"), options
        self.state = root / "state"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_") or k.startswith("MAINSPRING_ENGINE_")}
        self.env |= {"MAINSPRING_STATE_DIR": str(self.state), "MAINSPRING_HOST_LINGER": "10m", "NO_COLOR": "1"}
        self.names = (f"bench-{number}" for number in itertools.count())
        self.name = ""

    def call(self, *arguments: str, seconds: float = 300) -> str:
        """Runs one command to its end, and answers its stdout."""
        done = subprocess.run([self.binary, *arguments], env=self.env, capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            sys.exit(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def start(self, program: Program) -> None:
        """Submits the program as a new application."""
        self.name = next(self.names)
        self.call("run", "-d", "-t", "local", "--application-id", self.name, "-p", str(program.parallelism), *self.options,
                  "-c", program.main, str(program.jar), *program.arguments)

    def status(self) -> dict:
        """The status of the application."""
        return json.loads(self.call("status", self.name, "-o", "json"))

    def runners(self) -> int:
        """How many contenders the application has, each of which runs under a tether."""
        return sum(1 for _ in command_lines(f"{self.state}/work/{self.name}@1/contender-"))

    def jobmanager(self) -> tuple[int, pathlib.Path]:
        """The pid and the configuration of the living JobManager."""
        return jvm(SESSION, self.state)

    def taskmanager(self) -> int:
        """The pid of the TaskManager."""
        return jvm(WORKER, self.state)[0]

    def jvms(self) -> list[int]:
        """The pids of the JobManager and the TaskManager, once main() has submitted a job."""
        return [self.jobmanager()[0], self.taskmanager()]

    def rest(self) -> str:
        """The address where the JobManager serves its REST API."""
        _, conf = self.jobmanager()
        port = next(line for line in (conf / "config.yaml").read_text().splitlines() if line.startswith("rest.port:"))
        return f"127.0.0.1:{json.loads(port.split(': ', 1)[1])}"

    def kill_jobmanager(self) -> None:
        """Kills the JobManager with SIGKILL, and returns once it is gone."""
        kill(self.jobmanager()[0])

    def kill_leader(self) -> int:
        """Kills the leading runner with SIGKILL, and answers its pid once the runner is gone."""
        pid = int(self.status()["leadership"]["leaderPid"])
        kill(pid)
        return pid

    def end(self) -> None:
        """Cancels the application, and waits until nothing of it is left."""
        if self.name:
            subprocess.run([self.binary, "cancel", self.name], env=self.env, capture_output=True, timeout=60)
            subprocess.run([self.binary, "wait", self.name], env=self.env, capture_output=True, timeout=120)
            self.name = ""

    def down(self) -> None:
        """Ends the host and everything that runs on it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([self.binary, "down", "--cancel", "--yes"], env=self.env, capture_output=True, timeout=120)


def kill(pid: int) -> None:
    """Kills a process with SIGKILL that is not this program's child, and waits until it is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(f"{pid} is gone", lambda: not os.path.exists(f"/proc/{pid}") or pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == b"",
               pause=0.005)
