"""This machine meanwhile: its CPU, free ports, waiting, and processes that are ended whatever happens."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time


def busy() -> float:
    """CPU seconds that this machine has spent on anything since it started."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what: str, asked, seconds: float = 180, pause: float = 0.05):
    """Asks until the answer is true, and returns it. What is not there yet refuses connections or answers otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError, TypeError):
            if answer := asked():
                return answer
        time.sleep(pause)
    raise TimeoutError(f"not within {seconds:.0f} s: {what}")


def command_lines(mark: str):
    """`(pid, command line)` of every process that has this in its command line."""
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (line := (entry / "cmdline").read_bytes()):
                yield int(entry.name), line.decode(errors="replace").split("\0")


def jvm(of: str, below: pathlib.Path) -> tuple[int, pathlib.Path]:
    """A JVM of Flink's that has this class and its configuration below a directory: its pid, and where that is."""
    for pid, line in command_lines(of):
        conf = pathlib.Path(line[line.index("--configDir") + 1]) if "--configDir" in line else pathlib.Path()
        if conf.is_relative_to(below):
            return pid, conf
    raise OSError(f"there is no {of}")


def cpu_of(pid: int) -> float:
    """CPU seconds of one process until now."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core; those that they start inherit it."""
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread.name), {core})


class Processes:
    """Processes that are groups of their own, so that what they start ends with them."""

    def __init__(self, log: pathlib.Path):
        self.log = log
        self.all: list[subprocess.Popen] = []

    def start(self, command: list[str], **options) -> subprocess.Popen:
        """Starts one; what it says is in the log."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **options)
        self.all.append(process)
        return process

    def end(self) -> None:
        """Kills each with its group, and waits until it is gone."""
        for process in self.all:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.all.clear()
