"""The network of a cluster: a router, and a cable from it to each machine.

Each machine has an address in a network of its own, so whatever goes from one to another passes the
router, and the router drops what was cut, without a word to either side, as a broken network does.
That needs nothing but `ip`. No cable leads out: the router has no way to this machine's network.
"""

import re
import subprocess

from machine import Failure, Machine, run

# Before the kernel's rule for the main table, which is 32766.
PRIORITY = "100"
NAMES = re.compile(r"(host|etcd)-([1-9][0-9]?)")


def network(name: str) -> str:
    """The network of a machine without the last number: hosts are 10.71.1 … 10.71.99, members of
    etcd 10.71.101 … 10.71.199."""
    found = NAMES.fullmatch(name)
    if found is None:
        raise Failure(f"{name!r} is no name of a machine: host-1, host-2, … or etcd-1, etcd-2, …")
    return f"10.71.{int(found[2]) + (100 if found[1] == 'etcd' else 0)}"


def address(name: str) -> str:
    """The address of a machine."""
    return f"{network(name)}.1"


def ip(pid: int, *lines: str) -> None:
    """Has `ip` do these lines in the network namespace of a process."""
    given = "".join(f"{line}\n" for line in lines)
    run("nsenter", f"--target={pid}", "--net", "--", "ip", "-batch", "-", given=given)


def be_silent(router: Machine) -> None:
    """Drops what is sent to a machine that does not run, as nobody would answer for it."""
    ip(router.running(), "route add blackhole default")


def plug_in(router: Machine, name: str, pid: int) -> None:
    """Gives a machine that has just started its cable. The one that it had before a power cut goes
    with its last process, which may take the kernel a moment."""
    at_router = router.running()
    unplug(at_router, name)
    run("ip", "link", "add", name, "netns", str(at_router), "type", "veth",
        "peer", "name", "eth0", "netns", str(pid))  # fmt: skip
    ip(at_router, f"addr add {network(name)}.254/24 dev {name}", f"link set {name} up")
    ip(
        pid,
        "link set lo up",
        f"addr add {address(name)}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {network(name)}.254",
    )


def unplug(at_router: int, name: str) -> None:
    """Removes the router's end of a cable, if it is still there."""
    _try(at_router, "link", "del", name)


def cut(router: Machine, sender: str, receiver: str) -> None:
    """Drops what the sender sends to the receiver, also after either was started again."""
    rule = _rule(sender, receiver)
    _try(router.running(), "rule", "del", *rule)
    ip(router.running(), " ".join(["rule", "add", *rule]))


def heal(router: Machine, sender: str, receiver: str) -> None:
    """Lets through what the sender sends to the receiver."""
    _try(router.running(), "rule", "del", *_rule(sender, receiver))


def heal_all(router: Machine) -> int:
    """Lets everything through, and answers how many ways had been cut."""
    healed = 0
    while _try(router.running(), "rule", "del", "pref", PRIORITY):
        healed += 1
    return healed


def cuts(router: Machine) -> list[str]:
    """The rules that drop something, as `ip` shows them."""
    command = ["nsenter", f"--target={router.running()}", "--net", "--", "ip", "rule", "show"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rules = [line.partition(":\t") for line in shown.splitlines()]
    return [rule for priority, _, rule in rules if priority == PRIORITY]


def _rule(sender: str, receiver: str) -> list[str]:
    # The rule names the cable and not the sender's address: a rule by addresses would also be asked
    # for the way back when the kernel looks whether a sender may have its address.
    return ["pref", PRIORITY, "iif", sender, "to", address(receiver), "blackhole"]


def _try(pid: int, *words: str) -> bool:
    command = ["nsenter", f"--target={pid}", "--net", "--", "ip", *words]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
