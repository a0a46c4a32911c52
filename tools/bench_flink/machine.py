"""This machine during a run: its CPU, free ports, waiting, and processes that are always ended."""

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
    """A port that no process has at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what: str, asked, seconds: float = 180, pause: float = 0.05):
    """Asks until the answer is true, and returns it.

    A service that is not there yet refuses connections, or answers something that cannot be read;
    both count as not yet.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError, TypeError):
            if answer := asked():
                return answer
        time.sleep(pause)
    raise TimeoutError(f"not within {seconds:.0f} s: {what}")


def command_lines(mark: str):
    """`(pid, command line)` of every process that has `mark` in its command line."""
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (line := (entry / "cmdline").read_bytes()):
                yield int(entry.name), line.decode(errors="replace").split("\0")


def jvm(of: str, below: pathlib.Path) -> tuple[int, pathlib.Path]:
    """The pid and the configuration of a JVM that runs this class, configured below a directory."""
    for pid, line in command_lines(of):
        conf = pathlib.Path(line[line.index("--configDir") + 1]) if "--configDir" in line else pathlib.Path()
        if conf.is_relative_to(below):
            return pid, conf
    raise OSError(f"there is no {of}")


def cpu_of(pid: int) -> float:
    """CPU seconds of one process until now."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost(command: list[str], env: dict[str, str], log: pathlib.Path) -> dict[str, float]:
    """Wall seconds, CPU seconds and bytes read of one process, from its start to its exit."""
    start = time.monotonic()
    with open(log, "ab") as out:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - start
    io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{process.pid}/io").read_text().splitlines())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{log.read_text()[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "read": int(io["rchar"])}


def pin(pid: int, core: int) -> None:
    """Pins all threads of a process to one core, which the threads that they start inherit."""
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(thread.name), {core})


class Processes:
    """Processes that lead groups of their own, so that what they start ends with them."""

    def __init__(self, log: pathlib.Path):
        self.log = log
        self.all: list[subprocess.Popen] = []

    def start(self, command: list[str], **options) -> subprocess.Popen:
        """Starts a process whose output goes to the log."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **options)
        self.all.append(process)
        return process

    def end(self) -> None:
        """Kills each process with its group, and waits until the process is gone."""
        for process in self.all:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.all.clear()
