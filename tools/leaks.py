#!/usr/bin/env python3
"""Finds the processes that belong to a directory: the leak check of `make test`.

    python3 tools/leaks.py DIRECTORY        prints them; exit code 1 if there are any

A process belongs to a directory if the directory stands in the process's command line or
environment, if the process works there, runs an executable from there or has a file open there, or
if it carries the owner mark of a state directory below the directory. The caller and its ancestors
are left out.
"""

import hashlib
import os
import pathlib
import signal
import sys
import time
import typing

GRACE_S = 10.0
MARK = b"MAINSPRING_OWNER="


class Process(typing.NamedTuple):
    """A process that belongs to the directory, and why it does."""

    pid: int
    command: str
    why: str

    def __str__(self) -> str:
        return f"pid {self.pid}: {self.command or '?'} ({self.why})"


def wait_until_gone(root: pathlib.Path, grace_s: float = GRACE_S) -> list[Process]:
    """The processes that still belong to `root` when none does or `grace_s` seconds have passed."""
    deadline = time.monotonic() + grace_s
    while True:
        found = belonging(root)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.1)


def end(processes: list[Process]) -> None:
    """Kills what `wait_until_gone` returned, so that a failed run does not burden the next one."""
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def belonging(root: pathlib.Path) -> list[Process]:
    """Every process that belongs to `root`."""
    ours = ancestors()
    tags = owner_tags(root)
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours:
            why = reason(entry, os.fsencode(root), tags)
            if why:
                command = read(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(Process(int(entry.name), command[:200], why))
    return sorted(found)


def reason(process: pathlib.Path, root: bytes, tags: set[bytes]) -> str | None:
    """Why a process belongs to `root`; None if it does not.

    A process that has ended and waits for its parent does not belong to any directory any more.
    """
    if mentions(read(process / "cmdline"), root):
        return "named in its command line"
    for variable in read(process / "environ").split(b"\0"):
        if variable.startswith(MARK) and variable[len(MARK) :].split(b"/")[0] in tags:
            return variable.decode(errors="replace")
        if mentions(variable, root):
            return "named in its environment"
    for link in [process / "cwd", process / "exe", *descriptors(process)]:
        try:
            target = os.readlink(os.fsencode(link))
        except OSError:
            continue
        if mentions(target, root):
            return f"{link.relative_to(process)} is {target.decode(errors='replace')}"
    return None


def mentions(text: bytes, root: bytes) -> bool:
    """Whether the path `root` stands in `text`, not merely a longer name that begins with it."""
    parts = text.split(root)
    return any(not part or not (part[:1].isalnum() or part[:1] in b"_-.") for part in parts[1:])


def owner_tags(root: pathlib.Path) -> set[bytes]:
    """The first field of the owner marks of every state directory that may be below `root`."""
    tags = set()
    for directory, below, _ in os.walk(root):
        tags.add(hashlib.sha256(os.fsencode(directory)).hexdigest()[:8].encode())
        if directory.count("/") - str(root).count("/") >= 4:
            below.clear()
    return tags


def ancestors() -> set[int]:
    """This process and its ancestors."""
    found, pid = set(), os.getpid()
    while pid > 0:
        found.add(pid)
        # The name in parentheses may hold anything; the parent is the second field after it.
        stat = read(pathlib.Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
        pid = int(stat[1]) if len(stat) > 1 else 0
    return found


def descriptors(process: pathlib.Path) -> list[pathlib.Path]:
    """The links of a process's open files; none if the process is gone or another user's."""
    try:
        return list((process / "fd").iterdir())
    except OSError:
        return []


def read(file: pathlib.Path) -> bytes:
    """What a file of /proc holds; nothing if the process is gone or another user's."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    leaked = belonging(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(map(str, leaked)) or "none")
    sys.exit(1 if leaked else 0)
