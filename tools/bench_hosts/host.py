"""One host: a state directory, and all processes that belong to it."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time
import typing
from collections.abc import Iterator

from bench_flink.machine import eventually

# The processes that all applications of a host share: `up`, and the services that it keeps.
SHARED = ["up", "jobgraph-store", "leader-elector", "artifact-fetcher", "lifecycle"]

# How many passes over its processes stop a host: far more than are needed.
PASSES = 100


class Memory(typing.NamedTuple):
    """Memory in MiB: what is resident, and the share of it that is the process's own."""

    rss: float
    pss: float

    def __str__(self) -> str:
        return f"{self.rss:.1f} ({self.pss:.1f})"


class Host:
    """A host with a directory of its own."""

    def __init__(self, binaries: pathlib.Path, root: pathlib.Path, settings: dict[str, str]):
        self.binary, self.root, self.state = str(binaries / "mainspring"), root, root / "state"
        # A socket's path is short, and the directory of sockets goes with the benchmark's own.
        runtime = root / "run"
        runtime.mkdir(mode=0o700)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAINSPRING_")}
        self.env |= {
            "MAINSPRING_STATE_DIR": str(self.state),
            "MAINSPRING_HOST_LINGER": "1h",
            "XDG_RUNTIME_DIR": str(runtime),
            "NO_COLOR": "1",
        } | settings
        self._up: subprocess.Popen | None = None

    def up(self) -> None:
        """Starts the host, and returns once all of it answers."""
        with open(self.root / "up.log", "ab") as log:
            self._up = subprocess.Popen(
                [self.binary, "up"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        of_up = self._up
        eventually(
            "the host is up, or has ended",
            lambda: self.pid("up") == of_up.pid or of_up.poll() is not None,
        )
        if of_up.poll() is not None:
            said = (self.root / "up.log").read_text()[-2000:]
            raise RuntimeError(f"the host does not start: {said}")

    @contextlib.contextmanager
    def without_up(self) -> Iterator[None]:
        """Kills `up` for a while: the services and the applications go on, and nothing is begun."""
        self._up.kill()
        self._up.wait(timeout=30)
        yield
        self.up()

    def call(self, *arguments: str, seconds: float = 120, codes: tuple[int, ...] = (0,)) -> str:
        """Runs one command to its end, and answers its stdout; other exit codes are errors."""
        command = [self.binary, *arguments]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=seconds
        )
        if done.returncode not in codes:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def timed(self, *arguments: str) -> float:
        """Seconds of one command, from its start to its exit."""
        begun = time.monotonic()
        self.call(*arguments)
        return time.monotonic() - begun

    def status(self, name: str) -> dict:
        """What is recorded of an application."""
        return json.loads(self.call("status", name, "-o", "json"))

    def events(self, name: str) -> list[dict]:
        """All events of an application, oldest first."""
        return [json.loads(line) for line in self.call("events", name, "-o", "jsonl").splitlines()]

    @property
    def name(self) -> str:
        """What the host is called among the hosts of its deployment."""
        return json.loads((self.state / "host-id").read_text())["name"]

    def pid(self, service: str) -> int | None:
        """The process of a service, or of `up`, as `host.json` has it."""
        try:
            told = json.loads((self.state / "host.json").read_text())
        except (OSError, ValueError):
            return None
        return (told if service == "up" else told["services"][service])["pid"]

    def memory(self) -> dict[str, "Memory"]:
        """The memory of the processes that all applications share, by name."""
        return {name: memory_of(self.pid(name)) for name in SHARED}

    def contenders(self, name: str) -> list[int]:
        """The runners of an application that live on this host."""
        mark = f"{self._mark()}/{name}/".encode()
        return [
            pid
            for pid, line, owner in self._processes()
            if owner.startswith(mark) and b"/contender/" in owner and b"app-runner" in line
        ]

    def alive(self) -> list[int]:
        """All processes of the host, and of what runs on it."""
        return [pid for pid, _, _ in self._processes()]

    def kill(self) -> float:
        """Ends all processes at once, as a power cut does, and answers when that was begun."""
        begun, stopped = time.time(), set()
        # No process gets to see that another one has ended: all are stopped first. A process that
        # was started during one pass is met by the next one.
        for _ in range(PASSES):
            new = [pid for pid in self.alive() if pid not in stopped]
            if not new:
                break
            send(new, signal.SIGSTOP)
            stopped.update(new)
        send(sorted(stopped), signal.SIGKILL)
        if self._up:
            self._up.wait(timeout=30)
        eventually("nothing of the host is alive", lambda: not self.alive(), 30)
        return begun

    def _mark(self) -> str:
        return hashlib.sha256(os.fsencode(self.state)).hexdigest()[:8]

    def _processes(self) -> list[tuple[int, bytes, bytes]]:
        """Pid, command line and owner mark of each process of the host."""
        found = []
        state = b"MAINSPRING_STATE_DIR=" + os.fsencode(self.state)
        owner = b"MAINSPRING_OWNER="
        ours = owner + self._mark().encode() + b"/"
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            mark = next((variable for variable in variables if variable.startswith(ours)), b"")
            if mark or state in variables:
                found.append((int(entry.name), line, mark.removeprefix(owner)))
        return found


def send(pids: list[int], sent: signal.Signals) -> None:
    """Sends a signal to all these processes, except those that are gone."""
    for pid in pids:
        try:
            os.kill(pid, sent)
        except ProcessLookupError:
            pass


def memory_of(pid: int) -> Memory:
    """The memory of a process."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return Memory(int(fields["Rss"]) / 1024, int(fields["Pss"]) / 1024)
