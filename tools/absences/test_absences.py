"""Each rule of `tools/absences` goes red for its fault, in a copy of this repository's sources."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import unittest

import rules
import sources
import table
from sources import Tree

HERE = pathlib.Path(__file__).resolve().parent
LINKED = "[dependencies]\n"
LINKED_BY_TESTS = "[dev-dependencies]\n"
JAVA = "engines/flink/java/io/mainspring/flink/CannotRun.java"

# For each rule: a file, the words there that the fault follows ("" for the file's end), and the
# fault.
FAULTS = {
    "crates": ("record/Cargo.toml", LINKED, "chassis.workspace = true\n"),
    "tests": ("lifecycle/Cargo.toml", LINKED_BY_TESTS, "artifact-fetcher.workspace = true\n"),
    "services": ("client/Cargo.toml", LINKED, "leader-elector.workspace = true\n"),
    "engines": ("client/Cargo.toml", LINKED, "mainspring-datafusion.workspace = true\n"),
    "libraries": ("cli/Cargo.toml", LINKED, "redb.workspace = true\n"),
    "assembly": ("cli/src/verb/up.rs", "", "use lifecycle::substrate::Local;\n"),
    "model": ("lifecycle/src/model/plan.rs", "", "async fn later() {}\n"),
    "wire": ("cli/src/api.rs", "", "use tonic::Status;\n"),
    "refusals": ("lifecycle/src/error.rs", "", "impl From<Error> for Status {}\n"),
    "redb-file": ("jobgraph-store/src/examine.rs", "", "fn look() { Database::open(path); }\n"),
    "etcd": ("jobgraph-store/src/service.rs", "", "use etcd_client::Client;\n"),
    "renames": ("jobgraph-store/src/blobs/fs.rs", "", "fn keep() { fs::rename(new, old); }\n"),
    "processes": ("app-runner/src/service.rs", "", "use std::process::{Child, Command};\n"),
    "sockets": ("app-runner/src/grpc.rs", "", "use tokio::net::UnixListener;\n"),
    "clocks": ("lifecycle/src/service.rs", "", "fn late() { std::time::Instant::now(); }\n"),
    "tasks": ("lifecycle/src/service.rs", "", "fn go() { tokio::spawn(work); }\n"),
    "threads": ("lifecycle/src/service.rs", "", "fn go() { std::thread::spawn(work); }\n"),
    "panics": ("lifecycle/src/service.rs", "", "fn take() { given.unwrap(); }\n"),
    "expects": ("lifecycle/src/service.rs", "", 'fn take() { given.expect("a value"); }\n'),
    "jvm": (JAVA, "", "import io.grpc.Channel;\n"),
}


class Copied(unittest.TestCase):
    """Tests over a copy of the sources that they may change."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.root = pathlib.Path(directory.name)
        subprocess.run(["git", "init", "--quiet", str(cls.root)], check=True)
        for name, text in Tree(HERE.parent.parent).texts.items():
            (cls.root / name).parent.mkdir(parents=True, exist_ok=True)
            (cls.root / name).write_text(text)

    @contextlib.contextmanager
    def changed(self, name, text):
        """Gives a file another text for a while; with None the file is removed for a while."""
        file = self.root / name
        old = file.read_text() if file.exists() else None
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.write(file, text)
            yield
        finally:
            self.write(file, old)

    def write(self, file, text):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)

    @contextlib.contextmanager
    def inserted(self, name, after, text):
        """Puts `text` behind `after`, or at the end, for a while, and gives the line of `text`."""
        old = (self.root / name).read_text()
        at = old.index(after) + len(after) if after else len(old)
        with self.changed(name, old[:at] + text + old[at:]):
            yield old.count("\n", 0, at) + 1

    def found(self):
        return rules.check(Tree(self.root))


class Faults(Copied):
    """Each fault is found, at its place and by its rule."""

    def test_the_sources_as_they_are_have_none(self):
        self.assertEqual([], [str(wrong) for wrong in self.found()])

    def test_every_rule_has_a_fault_here(self):
        self.assertEqual(set(rules.NAMES), FAULTS.keys() | {"rooms"})

    def test_each_rule_names_its_fault_and_its_line(self):
        # The table does not have these arrows, either, and services and engines both link `client`.
        also = {"services": {"crates", "engines"}, "engines": {"crates", "services"}}
        for rule, (name, after, text) in FAULTS.items():
            with self.subTest(rule), self.inserted(name, after, text) as line:
                found = self.found()
                self.assertIn((name, line, rule), [(at.place, at.line, at.rule) for at in found])
                self.assertEqual(also.get(rule, set()), {at.rule for at in found} - {rule})

    def test_the_way_to_an_engine_is_told_crate_by_crate(self):
        with self.inserted(*FAULTS["engines"]):
            told = [wrong.what for wrong in self.found() if wrong.rule == "engines"]
        way = "mainspring -> client -> mainspring-datafusion: "
        self.assertTrue(any(way in what for what in told), told)

    def test_a_service_without_one_of_the_rooms(self):
        room = "artifact-fetcher/src/grpc/status.rs"
        with self.changed(room, None):
            self.assertEqual([(room, "rooms")], [(at.place, at.rule) for at in self.found()])

    def test_a_crate_that_the_table_does_not_know(self):
        with self.changed("novel/Cargo.toml", '[package]\nname = "novel"\n'):
            found = [(at.place, at.line, at.rule) for at in self.found()]
        self.assertEqual([("novel/Cargo.toml", 2, "crates")], found)

    def test_a_rule_that_architecture_does_not_name(self):
        for old, new in [("`sockets`", ""), ("`services`", "`engines`")]:
            page = (self.root / rules.PAGE).read_text()
            with self.subTest(old), self.changed(rules.PAGE, page.replace(old, new)):
                self.assertEqual(["page"], [wrong.rule for wrong in self.found()])

    def test_the_command_fails_and_says_where(self):
        run = [sys.executable, str(HERE), str(self.root)]
        self.assertEqual(0, subprocess.run(run, check=False).returncode)
        name, after, text = FAULTS["panics"]
        with self.inserted(name, after, text) as line:
            result = subprocess.run(run, capture_output=True, text=True, check=False)
        self.assertEqual(1, result.returncode)
        told = f"{name}:{line}: panics: `.unwrap()`: "
        self.assertTrue(result.stderr.startswith(told), result.stderr)


class Permissions(Copied):
    """A permission that is not needed any more is an error, at its own line of the table."""

    def stale(self, rule, entry):
        lines = (HERE / "table.py").read_text().splitlines()
        told = [at.line for at in self.found() if (at.rule, at.place) == (rule, rules.TABLE)]
        return [line for line in told if f'"{entry}"' in lines[line - 1]]

    def test_of_a_place(self):
        for absence in table.ABSENCES:
            # Directories hold many files, and their permission is that of a whole crate.
            for place in [place for place in absence.places if not place.endswith("/")][-1:]:
                with self.subTest(absence.name), self.changed(place, ""):
                    self.assertEqual(1, len(self.stale(absence.name, place)))

    def test_of_a_crate(self):
        for rule, name, line, entry in [
            ("crates", "redb-file/Cargo.toml", "chassis.workspace = true\n", "chassis"),
            ("tests", "sim/Cargo.toml", "etcd.workspace = true\n", "etcd"),
            ("libraries", "sdk/Cargo.toml", "datafusion.workspace = true\n", "mainspring-sdk"),
        ]:
            manifest = (self.root / name).read_text()
            with self.subTest(rule), self.changed(name, manifest.replace(line, "", 1)):
                self.assertEqual(1, len(self.stale(rule, entry)))


class Shipped(unittest.TestCase):
    """Tests of what counts as code that ships."""

    def left(self, text):
        return "".join(sources.without_tests(text)[0].split())

    def test_comments_and_texts_do_not(self):
        for text in [
            "// unwrap()\n",
            "/* a /* b */ unwrap() */",
            "/// it's `unwrap()`\n",
            '"unwrap() \\" unwrap()"',
            'r#"unwrap() " unwrap()"#',
            'b"unwrap()"',
            "'\"'",
            "'\\u{22}'",
        ]:
            with self.subTest(text):
                self.assertEqual("f();g();", self.left(f"f();{text}g();"))

    def test_lifetimes_are_no_texts(self):
        self.assertEqual("f<'a>(x:&'aX,y:&'aY)", self.left("f<'a>(x: &'a X, y: &'a Y)"))

    def test_items_of_tests_do_not(self):
        for text in [
            "#[cfg(test)]\nmod tests { fn t() { x(); } }\n",
            "#[cfg(all(test, debug_assertions))]\n#[allow(x)]\nfn t(a: [u8; 3]) { x(); }\n",
            "#[cfg(test)]\nuse x::y;\n",
        ]:
            with self.subTest(text):
                self.assertEqual("f();g();", self.left(f"f();{text}g();"))

    def test_what_is_not_only_for_tests_does(self):
        kept = "#[cfg(not(test))] mod x { f(); }"
        self.assertEqual("".join(kept.split()), self.left(kept))

    def test_modules_of_tests_are_known_with_all_below_them(self):
        text = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod laws;\npub mod memory;\n"
        self.assertEqual(["laws", "tests"], sources.without_tests(text)[1])
        tree = Tree(HERE.parent.parent)
        for name, is_test in [
            ("jobgraph-store/src/service/laws/face/wired.rs", True),
            ("lifecycle/tests/grpc.rs", True),
            ("e2e/src/host.rs", True),
            ("client/examples/past.rs", True),
            ("examples/delays/src/main.rs", False),
            ("lifecycle/tests/support/laws.rs", True),
            ("lifecycle/src/substrate.rs", False),
            ("jobgraph-store/src/store/memory.rs", False),
        ]:
            with self.subTest(name):
                self.assertEqual(is_test, tree.is_test(name))


if __name__ == "__main__":
    unittest.main()
