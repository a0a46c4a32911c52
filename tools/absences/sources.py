"""Rust as the rules read it: without comments, texts and test code.

Test code is: files below `tests/`, `examples/` and `benches/` of a crate; crates that only tests
link; and the item that follows a `#[cfg(test)]`, be it a block or a module in a file of its own
with all that lies below that module.
"""

import dataclasses
import functools
import pathlib
import re
import subprocess
import tomllib

from table import OF_TESTS

KINDS = ["*.rs", "*.java", "*.md", "Cargo.toml", "*/Cargo.toml"]
DIRECTORIES_OF_TESTS = {"tests", "examples", "benches"}

TOKEN = re.compile(
    r"""//[^\n]*
      | /\*
      | b?r(?P<hashes>\#*)"
      | b?"(?:[^"\\]|\\.)*"
      | b?'(?:[^'\\\n]|\\(?:u\{[^}]*\}|x..|.))'""",
    re.DOTALL | re.VERBOSE,
)
OF_TEST = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*")
MODULE = re.compile(r"(?:pub(?:\([a-z ]+\))?\s+)?mod\s+(\w+)\s*;")


@dataclasses.dataclass
class Crate:
    """One crate of the workspace."""

    name: str
    directory: str
    manifest: str
    needs: set[str]
    for_tests: set[str]

    def line(self, dependency: str) -> int:
        """The line where the manifest names a dependency; 1 if none does."""
        for number, line in enumerate(self.manifest.splitlines(), 1):
            if re.match(rf'"?{re.escape(dependency)}\b', line):
                return number
        return 1


class Tree:
    """The files of a checkout."""

    def __init__(self, root: pathlib.Path) -> None:
        # Files that are not added to git yet are looked at, too.
        which = ["-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", *which, "--", *KINDS],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        names = sorted(set(listed.stdout.split("\0")) - {""})
        self.texts = {name: (root / name).read_text() for name in names if (root / name).is_file()}
        self.crates = {crate.name: crate for crate in map(self.crate, self.texts) if crate}
        self.test_modules = self.find_test_modules()

    def crate(self, name: str) -> Crate | None:
        """The crate of a manifest. A manifest without a package, the workspace's own, has none."""
        if pathlib.PurePath(name).name != "Cargo.toml":
            return None
        read = tomllib.loads(self.texts[name])
        if "package" not in read:
            return None
        parts = [read, *read.get("target", {}).values()]

        def named(table: str) -> set[str]:
            found = [entry for part in parts for entry in part.get(table, {}).items()]
            return {at.get("package", key) if isinstance(at, dict) else key for key, at in found}

        return Crate(
            name=read["package"]["name"],
            directory=str(pathlib.PurePath(name).parent),
            manifest=self.texts[name],
            needs=named("dependencies") | named("build-dependencies"),
            for_tests=named("dev-dependencies"),
        )

    def find_test_modules(self) -> list[str]:
        """The modules of tests that are files of their own, as paths without `.rs`."""
        found = []
        for name, text in self.texts.items():
            path = pathlib.PurePath(name)
            if path.suffix == ".rs":
                below = path.parent if path.stem in ("lib", "main") else path.with_suffix("")
                found += [str(below / module) for module in without_tests(text)[1]]
        return found

    def is_test(self, name: str) -> bool:
        """Whether a file holds nothing but test code."""
        for crate in self.crates.values():
            below = f"{crate.directory}/"
            if name.startswith(below):
                first = name.removeprefix(below).split("/")[0]
                if crate.name in OF_TESTS or first in DIRECTORIES_OF_TESTS:
                    return True
        return any(name.startswith((f"{module}.rs", f"{module}/")) for module in self.test_modules)

    def shipped(self) -> dict[str, str]:
        """The code of every source file that ships."""
        sources = (name for name in self.texts if name.endswith((".rs", ".java")))
        return {name: self.code(name) for name in sources if not self.is_test(name)}

    def code(self, name: str) -> str:
        """The code of one file, in which each line keeps its place."""
        text = self.texts[name]
        return without_tests(text)[0] if name.endswith(".rs") else without_texts(text)


def blank(text: str) -> str:
    """A text of blanks with as many lines and columns."""
    return re.sub(r"[^\n]", " ", text)


@functools.cache
def without_texts(text: str) -> str:
    """The text with comments, strings and characters blanked."""
    kept, at = [], 0
    while token := TOKEN.search(text, at):
        start, end = token.span()
        if token[0] == "/*":
            end = end_of_comment(text, end)
        elif (hashes := token["hashes"]) is not None:
            closed = text.find('"' + hashes, end)
            end = len(text) if closed < 0 else closed + 1 + len(hashes)
        kept += [text[at:start], blank(text[start:end])]
        at = end
    return "".join([*kept, text[at:]])


def end_of_comment(text: str, at: int) -> int:
    """Where the comment ends that has begun before `at`. Comments nest, as in Rust."""
    depth = 1
    for mark in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return at + mark.end()
    return len(text)


@functools.cache
def without_tests(text: str) -> tuple[str, list[str]]:
    """The code without the items of tests, and the modules of tests that are in other files."""
    code = without_texts(text)
    modules = []
    for found in reversed(list(OF_TEST.finditer(code))):
        module = MODULE.match(code, found.end())
        if module:
            modules.append(module[1])
            continue
        end = end_of_item(code, found.end())
        code = code[: found.start()] + blank(code[found.start() : end]) + code[end:]
    return code, modules


def end_of_item(code: str, at: int) -> int:
    """Where the item ends that begins at `at`, which is after its block or its semicolon."""
    depth = 0
    for place in range(at, len(code)):
        letter = code[place]
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if letter == "}" and depth <= 0:
                return place + 1
        elif letter == ";" and depth == 0:
            return place + 1
    return len(code)
