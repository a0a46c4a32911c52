"""The first process of a machine: makes its places, keeps its one program, and reaps orphans.

`machine.py` starts it in namespaces of its own, with what the machine is like as JSON in the one
argument. It says on stdout by which number the machine's parent knows it, waits for a line on stdin
that says that the cable is plugged in, says "ready", and from then on writes to the machine's log.
When it is killed, the kernel kills every process of the machine: that is the power cut.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path("/srv")
PAUSE_S = 1.0


def mount(*arguments: str) -> None:
    """Mounts, in this machine only."""
    subprocess.run(["mount", *arguments], check=True)


def furnish(places: dict[str, str | None], forwards: bool) -> None:
    """Gives the machine its own /proc, and its own /srv with these places, at the same paths as
    every machine has them. A place that has no source is empty after each start."""
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(ROOT))
    for name, source in places.items():
        (ROOT / name).mkdir(mode=0o700)
        if source is not None:
            mount("--bind", source, str(ROOT / name))
    if forwards:
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def to_the_log() -> None:
    """Leaves the pipes to the parent: stdout goes where stderr goes, stdin is empty."""
    os.dup2(2, 1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)


def keep(command: list[str]) -> None:
    """Starts the program again whenever it has ended, as a service manager does."""
    while True:
        child = subprocess.Popen(command, cwd="/")
        # Orphans of the machine end up here, too, and are only reaped.
        ended, status = os.wait()
        while ended != child.pid:
            ended, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        child.returncode = code
        print(f"init: {command[0]} ended with {code}, and is started again", flush=True)
        time.sleep(PAUSE_S)


def main() -> None:
    machine = json.loads(sys.argv[1])
    # This /proc is still the parent's, so it shows this process by the parent's number.
    print(os.readlink("/proc/self"), flush=True)
    if not sys.stdin.readline():
        sys.exit("init: who started this machine is gone")
    socket.sethostname(machine["name"])
    furnish(machine["places"], machine["forwards"])
    print("ready", flush=True)
    to_the_log()
    keep(machine["command"])


if __name__ == "__main__":
    main()
