"""One machine: a process in namespaces of its own, and everything that it starts.

A machine has a directory of this machine's disk, which lasts beyond a power cut, with its log and
the number of its first process. Nothing else of it is outside its namespaces.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

INIT = pathlib.Path(__file__).resolve().with_name("init.py")
UNSHARED = ["--net", "--mount", "--uts", "--ipc", "--pid"]
GONE_S = 20.0
LOOK_S = 0.05


class Failure(Exception):
    """What went wrong, with the way out, for people."""


def run(*command: str, given: str | None = None) -> None:
    """Runs a command that says nothing when it succeeds."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        why = done.stderr.strip() or f"exit code {done.returncode}"
        raise Failure(f"{' '.join(command)}: {why}")


def start_ticks(pid: int) -> int | None:
    """When a process started, which tells it from a later one of the same number; None if it has
    ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


class Machine:
    """A machine of a cluster, whether it runs or not."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.name = directory.name

    @property
    def log(self) -> pathlib.Path:
        """What its program wrote."""
        return self.directory / "log"

    @property
    def pid(self) -> int | None:
        """The number of its first process; None if the machine does not run."""
        try:
            known = json.loads((self.directory / "machine.json").read_text())
        except FileNotFoundError:
            return None
        return known["pid"] if start_ticks(known["pid"]) == known["start_ticks"] else None

    def running(self) -> int:
        """The number of its first process."""
        pid = self.pid
        if pid is None:
            raise Failure(f"{self.name} does not run: local-cluster start {self.name}")
        return pid

    def boot(self, command: list[str], places: dict[str, str | None], environment: dict[str, str],
             plug_in=None, forwards: bool = False) -> None:  # fmt: skip
        """Starts the machine and its program. `plug_in` is called once its network namespace is
        there, and before anything of it runs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        told = {"name": self.name, "command": command, "places": places, "forwards": forwards}
        with self.log.open("a") as log:
            process = subprocess.Popen(
                ["unshare", *UNSHARED, "--fork", sys.executable, str(INIT), json.dumps(told)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd="/",
                env=environment, start_new_session=True,
            )  # fmt: skip
        try:
            with process.stdin as to_init, process.stdout as from_init:
                pid = self._remember(from_init.readline())
                if plug_in is not None:
                    plug_in(pid)
                to_init.write("plugged in\n")
                to_init.flush()
                if from_init.readline() != "ready\n":
                    raise self.failure("does not start")
        except BrokenPipeError:
            raise self.failure("does not start") from None
        # The process that waits for the machine outlives this one, and is nobody's to wait for.
        process.returncode = 0

    def _remember(self, said: str) -> int:
        ticks = start_ticks(int(said)) if said.strip().isdigit() else None
        if ticks is None:
            raise self.failure("does not start")
        known = {"pid": int(said), "start_ticks": ticks}
        (self.directory / "machine.json").write_text(json.dumps(known))
        return known["pid"]

    def failure(self, what: str) -> Failure:
        """A failure with the last words of the log, which may be removed before people look."""
        words = self.log.read_text(errors="replace").splitlines()[-5:]
        return Failure("\n".join([f"{self.name} {what}:", *words]))

    def cut_power(self) -> None:
        """Ends every process of the machine at once, and waits until they are gone."""
        pid = self.pid
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + GONE_S
        while self.pid is not None:
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} (pid {pid}) was killed, and is still there")
            time.sleep(LOOK_S)

    def inside(self, *command: str, directory: str = "/") -> list[str]:
        """The command line that runs a command in the machine."""
        target = f"--target={self.running()}"
        kinds = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        return ["nsenter", target, *kinds, "--", "env", f"--chdir={directory}", *command]
