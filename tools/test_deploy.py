"""Tests that what is in `deploy/` can be read, names only what is there, and fits together.

Nothing is started: neither Docker nor a namespace is needed, and of systemd its reader of units.
"""

import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = HERE / "deploy"
COMPOSE = DEPLOY / "compose"
SYSTEMD = DEPLOY / "systemd"
LOCAL = DEPLOY / "local-cluster"
GUIDE = HERE / "docs" / "guides" / "several-hosts.md"

sys.path.insert(0, str(LOCAL))
import network  # noqa: E402
from machine import Failure  # noqa: E402

SETTING = re.compile(r"\b(?:MAINSPRING|AWS)_[A-Z_]*[A-Z]\b")


def texts() -> dict[pathlib.Path, str]:
    """Every file that is handed to people who run a deployment."""
    files = [file for file in DEPLOY.rglob("*") if file.is_file() and not ignored(file)]
    return {file: file.read_text() for file in [*files, GUIDE]}


def ignored(file: pathlib.Path) -> bool:
    """Whether a file was made by a run and not by people."""
    return "__pycache__" in file.parts or file.is_relative_to(COMPOSE / "secrets")


def scripts() -> list[pathlib.Path]:
    """The files that are programs."""
    return [file for file, text in texts().items() if text.startswith("#!")]


def settings() -> set[str]:
    """The variables that docs/settings.md has, also those that it writes as `A_CERT`, `_KEY`."""
    page = (HERE / "docs" / "settings.md").read_text()
    found = set()
    for name, others in re.findall(r"`([A-Z]+_[A-Z_]+)`((?:, `_[A-Z_]+`)*)", page):
        stem = name.rpartition("_")[0]
        found |= {name, *(stem + other for other in re.findall(r"_[A-Z_]+", others))}
    return found


def variables(file: pathlib.Path) -> dict[str, str]:
    """What a file of variables says, as Compose and systemd read it where nothing is quoted."""
    found = {}
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals or not re.fullmatch(r"[A-Z_]+", name) or re.search(r"[\"' $\\]", value):
                raise ValueError(f"{file.name}: {line!r} is not read alike by all")
            found[name] = value
    return found


def plain_yaml(text: str):
    """Reads the plain part of YAML: mappings, lists and texts by indentation, and `[a, b]`. All else
    is refused, so a file that passes is the same for every reader of YAML."""
    lines = [
        (len(line) - len(line.lstrip(" ")), line.strip())
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if "\t" in text:
        raise ValueError("a tab is no indentation")
    said = _block(lines, 0)
    if lines:
        raise ValueError(f"{lines[0][1]!r} is indented as nothing before it")
    return said


def _block(lines: list[tuple[int, str]], indent: int):
    """Takes what is indented so far, or farther, off the front."""
    if lines and lines[0][1].startswith("- "):
        items = []
        while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
            item = lines[0][1].removeprefix("- ")
            if re.match(r"[a-z_]+:( |$)", item):
                lines[0] = (indent + 2, item)
                items.append(_block(lines, indent + 2))
            else:
                items.append(_text(lines.pop(0)[1].removeprefix("- ")))
        return items
    mapping = {}
    while lines and lines[0][0] == indent:
        line = lines.pop(0)[1]
        entry = re.fullmatch(r"([a-z0-9_-]+):(?: (.+))?", line)
        if entry is None or entry[1] in mapping:
            raise ValueError(f"{line!r} is no entry, or there are two of it")
        if entry[2] is not None:
            mapping[entry[1]] = _value(entry[2])
        else:
            deeper = bool(lines) and lines[0][0] > indent
            mapping[entry[1]] = _block(lines, lines[0][0]) if deeper else None
    return mapping


def _value(text: str):
    if text.startswith("["):
        if not text.endswith("]"):
            raise ValueError(f"{text!r} is no list of one line")
        return [_text(item.strip()) for item in text[1:-1].split(",")]
    return _text(text)


def _text(text: str) -> str:
    if not re.match(r"[A-Za-z0-9./-]", text) or ": " in text or " #" in text or text.endswith(":"):
        raise ValueError(f"{text!r} means something to YAML")
    return text


def unit(file: pathlib.Path) -> dict[str, list[str]]:
    """What a unit says, by `Section.Key`."""
    found: dict[str, list[str]] = {}
    section = None
    for line in file.read_text().splitlines():
        if re.fullmatch(r"\[[A-Z][A-Za-z]+\]", line):
            section = line[1:-1]
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            if section is None or not equals or not re.fullmatch(r"[A-Z][A-Za-z]+", key):
                raise ValueError(f"{file.name}: {line!r} is no setting of a section")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


class Reading(unittest.TestCase):
    """What the tests read with would see a mistake."""

    def test_the_plain_part_of_yaml_is_read_and_the_rest_refused(self):
        text = "a:\n  b: c\n  d: [e, f]\n  g:\n    - h:i\n    - j: k\n      l: m\nn:\n"
        read = {"a": {"b": "c", "d": ["e", "f"], "g": ["h:i", {"j": "k", "l": "m"}]}, "n": None}
        self.assertEqual(read, plain_yaml(text))
        for wrong in ["a: &b c\n", "a: *b\n", "a:\n  b: c\n d: e\n", "a: b\na: c\n", "a: b: c\n", "a:\n\tb: c\n"]:
            with self.subTest(wrong), self.assertRaises(ValueError):
                plain_yaml(wrong)

    def test_settings_are_read_from_the_page(self):
        known = settings()
        self.assertLessEqual({"MAINSPRING_ETCD", "MAINSPRING_ETCD_KEY", "MAINSPRING_FETCHER", "AWS_REGION"}, known)
        self.assertNotIn("MAINSPRING_ETCDS", known)


class Every(unittest.TestCase):
    """What holds for each file."""

    def test_every_variable_is_a_setting(self):
        known = settings()
        for file, text in texts().items():
            unknown = set(SETTING.findall(text)) - known
            self.assertFalse(unknown, f"{file.relative_to(HERE)}: not in docs/settings.md")

    def test_every_link_leads_somewhere(self):
        for file, text in texts().items():
            if file.suffix != ".md":
                continue
            for link in re.findall(r"\]\(([^)]+)\)", text):
                path, _, heading = link.partition("#")
                target = (file.parent / path).resolve() if path else file
                with self.subTest(f"{file.relative_to(HERE)}: {link}"):
                    self.assertTrue(target.exists())
                    if heading:
                        self.assertIn(heading, headings(target))

    def test_every_file_that_is_mentioned_exists(self):
        mention = re.compile(r"\b(?:deploy|docs|tools|examples)/[A-Za-z0-9_./-]*[A-Za-z0-9_]")
        for file, text in texts().items():
            for name in mention.findall(text):
                with self.subTest(f"{file.relative_to(HERE)}: {name}"):
                    self.assertTrue((HERE / name).exists())

    def test_every_script_can_be_read_and_run(self):
        found = scripts()
        self.assertIn(LOCAL / "local-cluster", found)
        self.assertIn(COMPOSE / "up", found)
        for script in found:
            with self.subTest(str(script.relative_to(HERE))):
                self.assertTrue(os.access(script, os.X_OK))
                if script.read_text().startswith("#!/usr/bin/env bash\n"):
                    subprocess.run(["bash", "-n", str(script)], check=True)
                    self.assertIn("\nset -euo pipefail\n", script.read_text())
        for file in [LOCAL / "local-cluster", *LOCAL.glob("*.py")]:
            ast.parse(file.read_text(), str(file))


class Composed(unittest.TestCase):
    """The parts of deploy/compose fit together."""

    def setUp(self):
        self.file = plain_yaml((COMPOSE / "compose.yaml").read_text())
        self.services = self.file["services"]
        self.hosts = {name: said for name, said in self.services.items() if said["command"] == ["mainspring", "up"]}
        self.settings = variables(COMPOSE / "host.env")
        self.image = (COMPOSE / "image").read_text()

    def mounts(self, service: str) -> dict[str, str]:
        """What a service finds mounted: the source of each place."""
        return {place: source for source, place, *_ in (text.split(":") for text in self.services[service]["volumes"])}

    def test_only_what_both_readers_know_is_said(self):
        self.assertEqual({"services", "secrets", "volumes"}, set(self.file))
        known = {
            "image", "hostname", "init", "restart", "stop_grace_period", "command", "env_file", "depends_on",
            "environment", "secrets", "tmpfs", "volumes",
        }  # fmt: skip
        for name, said in self.services.items():
            self.assertLessEqual(set(said), known, name)
            self.assertEqual(name, said["hostname"])
            self.assertEqual("mainspring:local", said["image"])
            self.assertEqual("always", said["restart"])
        self.assertIn(" mainspring:local\n", self.image)

    def test_what_is_mounted_exists(self):
        used = set()
        for name, said in self.services.items():
            for source in self.mounts(name).values():
                if source.startswith("."):
                    self.assertTrue((COMPOSE / source).exists(), f"{name}: {source}")
                else:
                    used.add(source)
            self.assertLessEqual(set(said.get("depends_on", [])), set(self.services))
        self.assertEqual(set(self.file["volumes"]), used)

    def test_no_two_services_have_one_place_of_their_own(self):
        own = [source for name in self.services for source in self.mounts(name).values() if source != "shared"]
        own = [source for source in own if not source.startswith(".")]
        keep_nothing = {"collector"}
        self.assertEqual(len(self.services.keys() - keep_nothing), len(set(own)))
        self.assertEqual(len(own), len(set(own)))

    def test_what_up_makes_is_what_is_mounted_and_kept_out_of_git(self):
        made = {f"./secrets/{name}" for name in re.findall(r"\| secret ([a-z0-9.]+)", (COMPOSE / "up").read_text())}
        needed = {said["file"] for said in self.file["secrets"].values()}
        for said in self.services.values():
            for file in said.get("env_file", []):
                if file.startswith("./secrets/"):
                    needed.add(file)
                else:
                    variables(COMPOSE / file)
        self.assertEqual(needed, made)
        self.assertIn("/secrets/", (COMPOSE / ".gitignore").read_text().splitlines())

    def test_the_hosts_are_alike_but_for_their_names(self):
        self.assertEqual(["host-1", "host-2", "host-3"], sorted(self.hosts))
        alike = [str(said).replace(name, "host") for name, said in self.hosts.items()]
        self.assertEqual(1, len(set(alike)), alike)
        for host in self.hosts:
            self.assertIn(f" {host} ", (COMPOSE / "up").read_text().replace(";", " "))

    def test_the_settings_of_a_host_are_where_things_are(self):
        state = self.settings["MAINSPRING_STATE_DIR"]
        for host, said in self.hosts.items():
            self.assertEqual(["./host.env"], said["env_file"])
            self.assertEqual([f"MAINSPRING_NETWORK=tcp://{host}:7070"], said["environment"])
            places = self.mounts(host)
            self.assertEqual(host, places[state])
            self.assertEqual("shared", places[self.settings["MAINSPRING_SHARED_DIR"]])
            secrets = {secret["target"]: secret["source"] for secret in said["secrets"]}
            self.assertEqual("deployment_key", secrets[f"{state}/deployment.key"])
            self.assertEqual("s3_credentials", secrets[self.settings["MAINSPRING_BLOBS_CREDENTIALS"]])

    def test_the_bucket_is_where_the_hosts_look_for_it(self):
        *_, buckets = command = self.services["s3"]["command"]
        port = next(word.rpartition(":")[2] for word in command if word.startswith("--port="))
        self.assertEqual(f"http://s3:{port}", self.settings["MAINSPRING_BLOBS_ENDPOINT"])
        bucket = self.settings["MAINSPRING_BLOBS"].removeprefix("s3://").partition("/")[0]
        self.assertEqual("/var/lib/s3/buckets", buckets)
        self.assertIn(f"s3/buckets/{bucket}}}", self.image)

    def test_the_collector_is_where_the_hosts_send_to(self):
        [configuration] = [place for place in self.mounts("collector") if place.endswith(".yaml")]
        self.assertEqual(["otelcol", f"--config={configuration}"], self.services["collector"]["command"])
        said = plain_yaml((COMPOSE / self.mounts("collector")[configuration]).read_text())
        port = said["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rpartition(":")[2]
        self.assertEqual(f"http://collector:{port}", self.settings["OTEL_EXPORTER_OTLP_ENDPOINT"])

    def test_the_members_of_etcd_are_those_that_the_hosts_ask(self):
        members = {name: said for name, said in self.services.items() if said["command"][0] == "etcd"}
        self.assertEqual(3, len(members))
        asked = self.settings["MAINSPRING_ETCD"].split(",")
        self.assertEqual([f"http://{name}:2379" for name in members], asked)
        together = variables(COMPOSE / "etcd.env")["ETCD_INITIAL_CLUSTER"].split(",")
        self.assertEqual([f"{name}=http://{name}:2380" for name in members], together)
        for name, said in members.items():
            self.assertIn(f"--advertise-client-urls=http://{name}:2379", said["command"])
            self.assertIn(f"--initial-advertise-peer-urls=http://{name}:2380", said["command"])
            self.assertIn(f"--name={name}", said["command"])

    def test_the_flights_are_below_what_the_hosts_share(self):
        program = re.search(r"mainspring run (\S+)", (COMPOSE / "run-flights").read_text())[1]
        self.assertTrue(program.startswith(self.settings["MAINSPRING_SHARED_DIR"] + "/"))
        directory, _, name = program.rpartition("/")
        for host in self.hosts:
            self.assertTrue((COMPOSE / self.mounts(host)[directory] / name).is_file())


class Units(unittest.TestCase):
    """The unit of a host, and what makes it a member's."""

    def setUp(self):
        self.unit = unit(SYSTEMD / "mainspring.service")
        self.member = unit(SYSTEMD / "mainspring.service.d" / "member.conf")

    def test_a_host_starts_at_boot_and_whenever_it_has_ended(self):
        for key, value in [
            ("Install.WantedBy", "multi-user.target"),
            ("Unit.StartLimitIntervalSec", "0"),
            ("Service.Restart", "always"),
            ("Service.KillMode", "process"),
            ("Service.RuntimeDirectoryPreserve", "yes"),
            ("Service.OOMPolicy", "continue"),
            ("Service.StandardError", "journal"),
            ("Service.ExecStart", "/usr/local/bin/mainspring up"),
        ]:
            self.assertEqual([value], self.unit.get(key), key)
        self.assertGreaterEqual(int(self.unit["Service.LimitNOFILE"][0]), 65536)

    def test_its_user_is_made_and_its_directories_are_those_of_the_settings(self):
        environment = dict(said.split("=", 1) for said in self.unit["Service.Environment"])
        [state], [run] = self.unit["Service.StateDirectory"], self.unit["Service.RuntimeDirectory"]
        self.assertEqual(f"/var/lib/{state}", environment["MAINSPRING_STATE_DIR"])
        self.assertEqual(f"/run/{run}", environment["XDG_RUNTIME_DIR"])
        [user] = self.unit["Service.User"]
        lines = (SYSTEMD / "mainspring.sysusers").read_text().splitlines()
        self.assertIn(f'u {user} - "Mainspring host" /var/lib/{state}', lines)
        verbs = (SYSTEMD / "README.md").read_text()
        for name in ["MAINSPRING_STATE_DIR", "XDG_RUNTIME_DIR"]:
            self.assertIn(f"{name}={environment[name]}", verbs)

    def test_a_member_starts_with_its_settings_and_after_its_mount_only(self):
        self.assertEqual(["/etc/mainspring/member.env"], self.member["Service.EnvironmentFile"])
        said = variables(SYSTEMD / "member.env")
        self.assertEqual(self.member["Unit.RequiresMountsFor"], [said["MAINSPRING_SHARED_DIR"]])
        self.assertLessEqual({"MAINSPRING_SHARED_DIR", "MAINSPRING_ETCD", "MAINSPRING_BLOBS"}, set(said))

    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze here: apt install systemd")
    def test_systemd_itself_has_nothing_to_say_about_them(self):
        with tempfile.TemporaryDirectory() as made:
            for file in [SYSTEMD / "mainspring.service", *(SYSTEMD / "mainspring.service.d").iterdir()]:
                to = pathlib.Path(made, file.relative_to(SYSTEMD))
                to.parent.mkdir(exist_ok=True)
                # The executable and its page in the manual are not installed here.
                text = file.read_text().replace("/usr/local/bin/mainspring", "/bin/true")
                to.write_text(re.sub("^Documentation=.*$", "", text, flags=re.MULTILINE))
            verify = ["systemd-analyze", "verify", "--man=no", f"{made}/mainspring.service"]
            said = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual((0, ""), (said.returncode, said.stderr))


class LocalCluster(unittest.TestCase):
    """What can be said of hosts in namespaces without making one."""

    def test_no_two_machines_have_one_address(self):
        names = [f"{kind}-{number}" for kind in ("host", "etcd") for number in range(1, 100)]
        self.assertEqual(len(names), len({network.address(name) for name in names}))
        self.assertEqual("10.71.2.1", network.address("host-2"))
        self.assertEqual("10.71.103.1", network.address("etcd-3"))

    def test_a_name_that_is_no_machine_is_refused(self):
        for name in ["host", "host-0", "host-100", "router", "host-1; true", ""]:
            with self.subTest(name), self.assertRaises(Failure):
                network.address(name)

    def test_every_verb_is_on_the_page(self):
        program = (LOCAL / "local-cluster").read_text()
        verbs = re.findall(r"\bverb\(\"(\w+)\"", program)
        self.assertEqual({"up", "exec", "cut", "heal", "kill", "start", "list", "down"}, set(verbs))
        page = (LOCAL / "README.md").read_text()
        for name in verbs:
            self.assertRegex(page, rf"\$cluster .*\b{name}\b")


def headings(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in found}


class TheDashboard(unittest.TestCase):
    """What it shows, what the page of alarms asks for, and what the processes count."""

    # What Prometheus adds to a name: the parts of a histogram, the unit, the word for a counter.
    ADDED = r"(?:_(?:bucket|count|sum))?$"
    UNITS = r"(?:_seconds|_bytes)?(?:_total)?$"

    def named(self, text: str) -> set[str]:
        return {re.sub(self.ADDED, "", name) for name in re.findall(r"\bmainspring_[a-z_]+", text)}

    def test_every_number_that_is_shown_or_wakes_people_is_counted(self):
        page = (HERE / "docs" / "metrics.md").read_text()
        _, known, alarms = re.split(r"## What (?:there is|to be woken for)", page)
        table = self.named(known)
        dashboard = self.named((DEPLOY / "grafana" / "mainspring.json").read_text())
        self.assertEqual(dashboard - table, set(), "the dashboard shows what docs/metrics.md lacks")
        self.assertEqual(table - dashboard, set(), "the dashboard lacks what docs/metrics.md has")
        self.assertEqual(self.named(alarms) - table, set(), "alarms ask for what there is not")

    def test_every_number_of_the_page_is_in_the_code(self):
        known = (HERE / "docs" / "metrics.md").read_text().split("## What there is")[1]
        sources = [file for crate in HERE.glob("*/src") for file in crate.rglob("*.rs")]
        code = "\n".join(file.read_text() for file in sources)
        counted = {name.replace(".", "_") for name in re.findall(r'"(mainspring\.[a-z.]+)"', code)}
        # `up` makes this one, on its page alone.
        counted.add("mainspring_service_answers")
        counted = {re.sub(self.UNITS, "", name) for name in counted}
        missing = {name for name in self.named(known) if re.sub(self.UNITS, "", name) not in counted}
        self.assertEqual(missing, set())


if __name__ == "__main__":
    unittest.main()
