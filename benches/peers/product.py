"""bancheck and the two echoes: built, filled, started, and their answers verified."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import wire
from .load import CHECK
from .stage import ROOT, TARGET, Failed, say
from .tools import Program

EMPTY = "grpc.health.v1.Health/Check"


class Binaries:
    """The programs of this repository, and how they were built."""

    def __init__(self, folder, words):
        if folder:
            folder = Path(folder).resolve()
            self.words = words or "beforehand"
            paths = {name: folder / name for name in ("bancheck", "check_echo", "empty_echo")}
        else:
            paths, self.words = build()
        for path in paths.values():
            if not os.access(path, os.X_OK):
                raise Failed(f"there is no {path}")
        self.bancheck = Program(paths["bancheck"])
        self.check_echo, self.empty_echo = paths["check_echo"], paths["empty_echo"]


def build():
    """The server and the echo of its messages alike, the empty echo as a newcomer builds it."""
    cargo = shutil.which("cargo") or Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin/cargo"
    # In one go, so that both are linked from the same code.
    for what in (
        ["--profile", "dist", "--bin", "bancheck", "--example", "check_echo"],
        ["--release", "--example", "empty_echo"],
    ):
        say(f"cargo build --locked {' '.join(what)}")
        if subprocess.run([cargo, "build", "--locked", *what], cwd=ROOT, stdout=2).returncode != 0:
            raise Failed("the build failed")
    paths = {
        "bancheck": TARGET / "dist/bancheck",
        "check_echo": TARGET / "dist/examples/check_echo",
        "empty_echo": TARGET / "release/examples/empty_echo",
    }
    return paths, "bancheck and check_echo with --profile dist, empty_echo with --release"


class Echo:
    """An echo on a core, or on any."""

    def __init__(self, stage, program, core=None):
        self.name = Path(program).name
        [self.port] = stage.ports(1)
        self.server = stage.begin(self.name, [program, f"127.0.0.1:{self.port}"], core=core)
        self.server.until_connected(self.port)


class Bancheck:
    """A server of bans, which asks for a credential."""

    def __init__(
        self, stage, binaries, name, folder, core=None, environment=None, keeps_log=True, scheme="http"
    ):
        self.bancheck, self.folder, self.scheme = binaries.bancheck, folder, scheme
        self.port, self.admin, self.metrics = stage.ports(3)
        self.environment = {"BANCHECK_DATA_DIR": str(folder), **(environment or {})}
        auth = () if environment else ("--set", "auth=on")
        began = time.monotonic()
        self.server = stage.begin(
            name,
            [
                self.bancheck.path,
                "serve",
                f"--check-listen=127.0.0.1:{self.port}",
                f"--admin-listen=127.0.0.1:{self.admin}",
                f"--metrics-listen=127.0.0.1:{self.metrics}",
                *auth,
            ],
            core=core,
            environment=self.environment,
            keeps_log=keeps_log,
        )
        self.server.until(self.is_ready, seconds=600)
        self.milliseconds = (time.monotonic() - began) * 1e3
        self.key = None

    def is_ready(self):
        try:
            return self.get("readyz").status == 200
        except OSError:
            return False

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/{path}", timeout=5)

    def ask(self, *arguments, **more):
        """The command line, of this server."""
        return self.bancheck.output(*arguments, env=self.asking(), **more)

    def take(self, file, rows, *more):
        """Imports a file of so many new bans, and tells what came of it."""
        told = json.loads(self.ask("--output", "json", "ban", "import", file, "--channel", "call", *more))
        if told["created"] != rows:
            raise Failed(f"an import of {rows} bans: {told}")
        return told

    def asking(self):
        """By what the command line finds this server."""
        return {
            **self.environment,
            "BANCHECK_ENDPOINT": f"{self.scheme}://127.0.0.1:{self.port}",
            "BANCHECK_ADMIN_ENDPOINT": f"{self.scheme}://127.0.0.1:{self.admin}",
        }

    def with_key(self, *more):
        """Gives callers a credential for checks, and more; a folder that was used before has one."""
        kept = self.folder / "measure.key"
        scopes = (word for scope in ("check", *more) for word in ("--scope", scope))
        making = ["key", "add", "measure", "--all-tenants", *scopes]

        def has_made_one():
            try:
                kept.write_text(self.ask(*making))
                return True
            except Failed:
                # A server that has just begun for the first time makes its folder's own key first.
                return False

        if not kept.exists():
            self.server.until(has_made_one, seconds=10, pause=0.1)
        self.key = kept.read_text().split()[-1]
        return self

    def verify(self):
        """Bans the number that denied checks ask about, and sees to it that answers are real."""
        if self.answer(wire.BANNED) == 0:
            self.ask(
                "ban", "add", "--channel", "call", "--permanent", "--reason", "to measure with", wire.BANNED
            )
        for phone, expected in (wire.ALLOWED, 0), (wire.BANNED, 3):
            if (answer := self.answer(phone)) != expected:
                raise Failed(f"{self.server.name}: exit code {answer} for {phone}, and not {expected}")
        return self

    def answer(self, phone):
        """0 = allowed, 3 = denied."""
        command = [
            self.bancheck.path,
            "check",
            "--endpoint",
            f"{self.scheme}://127.0.0.1:{self.port}",
            "--channel",
            "call",
            "--queue",
            wire.QUEUE,
            phone,
        ]
        environment = {**os.environ, "BANCHECK_TOKEN": self.key or ""}
        return subprocess.run(command, env=environment, capture_output=True).returncode

    def counted(self):
        """Fresh answers so far, as the server counts them, by decision."""
        counts = {"allow": 0, "deny": 0}
        for line in self.get("metrics").read().decode().splitlines():
            if line.startswith("bancheck_checks_total") and 'basis="fresh"' in line:
                for decision in counts:
                    if f'decision="{decision}"' in line:
                        counts[decision] += int(line.split()[-1])
        return counts

    def checks(self, load, body, count, **more):
        """h2load asks; the server's own counters must show as many answers as there were replies."""
        methods = {"batch": "BatchCheckInteractions", "stream": "StreamCheckInteractions"}
        method = CHECK + methods.get(body, "CheckInteraction")
        each = {"batch": wire.BATCH, "stream": wire.STREAM}.get(body, 1)
        before = self.counted()
        figures = load.grpc(self.port, method, body, count, key=self.key, **more)
        figures["count"] *= each
        figures["rate"] *= each
        asked = figures["count"]
        denied = {"miss": 0, "hit": asked}.get(body, asked // wire.ONE_IN)
        after = self.counted()
        found = {decision: after[decision] - before[decision] for decision in after}
        if found != {"allow": asked - denied, "deny": denied}:
            raise Failed(
                f"{self.server.name}: of {asked} answers to {body} {denied} should be denials: {found}"
            )
        return figures


def bans_file(file, rows, first):
    """A file of so many bans, whose numbers begin with this one."""
    numbers = range(first, first + rows)
    file.write_text("value,reason\n" + "".join(f"+999{number},to measure with\n" for number in numbers))
    return file


def seeded(binaries, folder, count, flags=()):
    """A folder with so many made-up bans; filled once where it is kept."""
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        say(f"filling a database with {count} bans")
        binaries.bancheck.output("bench", "seed", count, "--data-dir", part, *flags)
        part.rename(folder)
    return folder
