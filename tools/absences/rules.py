"""The rules, and what is wrong with a tree by each of them."""

import dataclasses
import functools
import itertools
import pathlib
import re

import table
from sources import Crate, Tree

TABLE = "tools/absences/table.py"
PAGE = "ARCHITECTURE.md"


@dataclasses.dataclass(frozen=True, order=True)
class Wrong:
    """One thing that is where it must not be, or a permission that no code needs."""

    place: str
    line: int
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.rule}: {self.what}"


def check(tree: Tree) -> list[Wrong]:
    """All that is wrong with a tree, in the order of its places."""
    code = tree.shipped()
    found = [wrong for rule in [*OF_CRATES, page] for wrong in rule(tree)]
    found += [wrong for absence in table.ABSENCES for wrong in misplaced(absence, code)]
    return sorted(found)


def crates(tree: Tree) -> list[Wrong]:
    """Each crate links what the table says, no more and no less."""
    found = []
    for crate in tree.crates.values():
        if crate.name not in table.CRATES:
            what = f"{crate.name} is a new crate: say in CRATES of {TABLE} what it may link"
            found.append(Wrong(f"{crate.directory}/Cargo.toml", crate.line("name"), "crates", what))
        allowed = set(table.CRATES.get(crate.name, []))
        ours = crate.needs & tree.crates.keys()
        remedy = f"ask over proto, or through `client`; a new arrow goes into CRATES of {TABLE}"
        found += [too_much(crate, "crates", other, remedy) for other in ours - allowed]
        found += [stale("crates", f'"{crate.name}": [', other) for other in allowed - ours]
    gone = table.CRATES.keys() - tree.crates.keys()
    return found + [stale("crates", "CRATES = {", name) for name in gone]


def tests(tree: Tree) -> list[Wrong]:
    """The crates that only tests link stand in a list of their own."""
    found, used = [], set()
    for crate in tree.crates.values():
        besides = (crate.for_tests & tree.crates.keys()) - crate.needs
        used |= besides
        remedy = f"test through the wire; what any test may link goes into FOR_TESTS of {TABLE}"
        more = besides - table.FOR_TESTS.keys()
        found += [too_much(crate, "tests", other, remedy) for other in more]
    return found + [stale("tests", "FOR_TESTS = {", name) for name in table.FOR_TESTS.keys() - used]


def services(tree: Tree) -> list[Wrong]:
    """No service links a service or an engine, not even through another crate."""
    remedy = "they are processes of their own: speak proto"
    return apart(tree, "services", table.SERVICES, [*table.SERVICES, *table.ENGINES], remedy)


def engines(tree: Tree) -> list[Wrong]:
    """No engine links a service, nor `mainspring` an engine, not even through another crate."""
    of_engine = "what an engine needs of a service, it asks through `client`"
    of_host = "`mainspring` finds an engine by name and asks it over `mainspring.engine.v1`"
    found = apart(tree, "engines", table.ENGINES, table.SERVICES, of_engine)
    return found + apart(tree, "engines", ["mainspring"], [*table.ENGINES, "datafusion"], of_host)


def libraries(tree: Tree) -> list[Wrong]:
    """A library that is the affair of some crates is linked by those crates only."""
    found = []
    for library, allowed in table.LIBRARIES.items():
        users = {crate.name for crate in tree.crates.values() if library in crate.needs}
        remedy = f"it is the affair of {', '.join(allowed)}; see LIBRARIES of {TABLE}"
        more = [tree.crates[user] for user in users - set(allowed)]
        found += [too_much(crate, "libraries", library, remedy) for crate in more]
        found += [stale("libraries", f'"{library}": [', user) for user in set(allowed) - users]
    return found


def rooms(tree: Tree) -> list[Wrong]:
    """Every service has the same files."""
    found = []
    for service in (tree.crates[name] for name in table.SERVICES if name in tree.crates):
        for room in table.ROOMS:
            if f"{service.directory}/{room}" not in tree.texts:
                what = f"{service.name} has no {room}: give it the file that the others have"
                found.append(Wrong(f"{service.directory}/{room}", 1, "rooms", what))
    return found


def page(tree: Tree) -> list[Wrong]:
    """ARCHITECTURE names every rule, in this order."""
    text = tree.texts.get(PAGE, "")
    told = re.findall(r"\(checked:\s+`([^`]+)`\)", text)
    line = text.count("\n", 0, text.find("## Invariants of absence")) + 1
    for said, named in itertools.zip_longest(told, NAMES):
        if said != named:
            what = f"`{said}` is marked as checked where {TABLE} has `{named}`"
            return [Wrong(PAGE, line, "page", f"{what}: mark each checked sentence, in its order")]
    return []


OF_CRATES = [crates, tests, services, engines, libraries, rooms]
# The names of all rules, in the order of ARCHITECTURE.
NAMES = [*(rule.__name__ for rule in OF_CRATES), *(absence.name for absence in table.ABSENCES)]


def misplaced(absence: table.Absence, code: dict[str, str]) -> list[Wrong]:
    """Code that stands where it must not, and permissions that their places need no more."""
    found, needed = [], set()
    for name, text in code.items():
        if not re.search(absence.within, name) or re.search(absence.rooms, name):
            continue
        hits = standing(absence.pattern, text)
        allowed = {place for place in absence.places if covers(place, name)}
        if hits and allowed:
            needed |= allowed
            continue
        for line, words in hits:
            what = f"`{words}`: {absence.remedy}. Or give {TABLE} the file and the reason"
            found.append(Wrong(name, line, absence.name, what))
    unneeded = (place for place in absence.places if place not in needed)
    return found + [stale(absence.name, f'"{absence.name}",', place) for place in unneeded]


def covers(place: str, name: str) -> bool:
    """Whether a place of the table is this file, or a directory above it."""
    return name == place or (place.endswith("/") and name.startswith(place))


@functools.cache
def standing(pattern: str, text: str) -> list[tuple[int, str]]:
    """The lines where a pattern stands, with the words that match."""
    return [(text.count("\n", 0, at.start()) + 1, at[0]) for at in re.finditer(pattern, text)]


def too_much(crate: Crate, rule: str, other: str, remedy: str) -> Wrong:
    """The error of a crate that links what it must not."""
    manifest = f"{crate.directory}/Cargo.toml"
    return Wrong(manifest, crate.line(other), rule, f"{crate.name} depends on {other}: {remedy}")


def apart(tree: Tree, rule: str, these: list[str], those: list[str], remedy: str) -> list[Wrong]:
    """Crates of `these` that reach one of `those`, by ways that meet no other of `those` first."""
    found = []
    for name in these:
        for way in ways(tree, name):
            reached = [step for step in way[1:] if step in those]
            if reached == way[-1:]:
                last = tree.crates[way[-2]]
                manifest = f"{last.directory}/Cargo.toml"
                what = f"{' -> '.join(way)}: {remedy}"
                found.append(Wrong(manifest, last.line(way[-1]), rule, what))
    return found


def ways(tree: Tree, start: str) -> list[list[str]]:
    """The shortest way from a crate to each one that it links, libraries included."""
    found, queue = {start: [start]}, [start]
    for name in queue:
        for other in sorted(tree.crates[name].needs) if name in tree.crates else []:
            if other not in found:
                found[other] = [*found[name], other]
                queue.append(other)
    return list(found.values())


def stale(rule: str, after: str, entry: str) -> Wrong:
    """The error of a permission that no code needs.

    Its place is the first `entry` of the table behind the words `after`.
    """
    text = pathlib.Path(table.__file__).read_text()
    at = text.find(f'"{entry}"', max(text.find(after), 0))
    what = f'"{entry}" is not needed any more: remove it'
    return Wrong(TABLE, text.count("\n", 0, max(at, 0)) + 1, rule, what)
