"""Mixed load for an hour, or for as long as is said: does anything drift?

Checks at a fixed rate while bans are made and lifted one by one, files of bans are imported and lifted
again, and others watch. What is looked at is what cannot be seen in a minute: memory, file descriptors,
threads, the files' sizes, and the slowest checks, in the beginning and in the end.
"""

import json
import threading
from pathlib import Path

from .load import Load
from .page import keep, table
from .product import Bancheck, bans_file, seeded
from .stage import Failed, say
from .wire import ONE_IN

RATE, CHANGES = 1_000, 10
WATCHERS = 20
# A file of so many rows, so often.
ROWS, EVERY = 20_000, 120
# How long one stretch of checks is, whose percentiles are told.
STRETCH = 60


class Lasting:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results):
        self.stage, self.binaries, self.told, self.results = stage, binaries, told, results
        self.load, self.bans = Load(stage), told.bans // 10
        self.over, self.failed, self.imported = threading.Event(), [], 0

    def run(self):
        folder = seeded(self.binaries, self.stage.folder / "lasting", self.bans)
        self.product = Bancheck(self.stage, self.binaries, "lasting", folder, keeps_log=False).with_key(
            "admin"
        )
        environment = self.product.asking()
        for number in range(WATCHERS):
            command = [self.binaries.bancheck.path, "watch"]
            self.stage.begin(f"watcher {number}", command, keeps_log=False, environment=environment)
        imports = threading.Thread(target=self.imports)
        imports.start()
        try:
            for minute in range(self.told.minutes):
                self.stretch(minute)
        finally:
            self.over.set()
            imports.join()
        if self.failed:
            raise Failed(self.failed[0])

    def stretch(self, minute):
        flags = ["--changes", CHANGES, "--admin-endpoint", f"http://127.0.0.1:{self.product.admin}"]
        with self.load.on_any_core():
            told = self.load.at_a_rate(
                self.binaries.bancheck,
                self.product.port,
                RATE,
                STRETCH,
                self.bans * ONE_IN,
                self.product.key,
                flags,
            )
        told |= self.held() | {"imported": self.imported}
        self.results.add("lasting", "minute", round=minute, **told)
        if minute % 10 == 0:
            say(f"minute {minute}: {json.dumps(told)}")

    def held(self):
        """What the server holds now."""
        folder = Path(f"/proc/{self.product.server.process.pid}")
        files = self.product.folder.iterdir()
        return {
            "resident": self.product.server.resident(),
            "descriptors": len(list((folder / "fd").iterdir())),
            "threads": len(list((folder / "task").iterdir())),
            "stored": sum(file.stat().st_size for file in files if file.is_file()),
        }

    def imports(self):
        """Imports a file and lifts it again, over and over."""
        file = bans_file(self.stage.folder / "rows.csv", ROWS, 5 * 10**9)
        try:
            while not self.over.is_set():
                told = self.product.take(file, ROWS)
                self.imported += ROWS
                lift = "ban", "deactivate", "--import-id", told["importId"], "--reason", "over"
                self.product.ask(*lift)
                self.over.wait(EVERY)
        except Failed as failed:
            self.failed.append(str(failed))


def write(results, facts, into):
    """docs/performance/lasting.md."""
    whole = [line for line in results.lines if line["phase"] == "lasting"]
    last = len(whole) - 1
    # The first minute, each sixth of the time, and the last.
    shown = sorted({0, last, *(last * part // 6 for part in range(1, 6))})
    rows = [
        [
            f"{minute + 1}",
            f"{one['rate']:,.0f}",
            *(f"{one[name] / 1e3:.2f}" for name in ("p50", "p99", "p99.9")),
            f"{one['imported']:,}",
            f"{one['resident'] / 1e6:.1f}",
            f"{one['stored'] / 1e6:.1f}",
            f"{one['descriptors']}",
            f"{one['threads']}",
        ]
        for minute, one in ((minute, whole[minute]) for minute in shown)
    ]
    page = [
        "# Mixed load for a while",
        "",
        "Made by `benches/compare lasting`; do not edit. One server on SQLite and all who ask on the same machine,",
        f"none of them pinned: {RATE:,} checks a second, {CHANGES} bans a second made or lifted, {WATCHERS} who watch, and a",
        f"file of {ROWS:,} bans imported and lifted again every {EVERY} s. Latencies are in ms as callers see them, over a",
        "minute each, the load's timer of a millisecond included; memory and files in MB. Lifted bans stay stored;",
        "resident memory grows until the file's cache of 64 MB is full.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        *table(
            "minute,checks/s,p50,p99,p99.9,imported so far,resident,stored,descriptors,threads".split(","),
            rows,
        ),
    ]
    keep(into, "lasting", page)
