"""What checks feel of all else: their latency at a fixed rate, in peace and while something goes on.

The tenant that is asked about is small and stays; what goes on is about others, or about the server.
"""

import json
import os
import threading

from .credentials import Certificates
from .load import Load
from .page import keep, spread, table
from .product import Bancheck, bans_file, seeded
from .stage import LOAD_CORE, SERVER_CORE, Failed, say
from .wire import ONE_IN

RATE, FEW = 2_000, 10_000
# One of the large tenants has room beside the small one, and not both.
ROOM_A_BAN, ROOM_FOR_FEW = 90, 4 << 20
EVENTS = {
    "peace": "nothing else",
    "import": "files of bans are imported, one after another",
    "scrapes": "`/metrics` is read ten times a second",
    "loads": "two large tenants are asked about in turn, for one of which there is room",
    "peace over TLS": "nothing else, over TLS",
    "certificates": "the certificate is replaced every second, over TLS",
}


class Meanwhile:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results):
        self.stage, self.binaries, self.told, self.results = stage, binaries, told, results
        self.load, self.large = Load(stage), told.bans // 2
        self.certificates = Certificates(stage.folder)

    def run(self):
        folder = seeded(self.binaries, self.stage.folder / "meanwhile", FEW)
        large = ["--data-dir", folder, "--into", "large", "--tenants", 2]
        self.binaries.bancheck.output("bench", "seed", 2 * self.large, *large)
        room = self.large * ROOM_A_BAN + ROOM_FOR_FEW
        settings = {"BANCHECK_AUTH": "on", "BANCHECK_VIEW_MEMORY_MIB": str(room >> 20)}
        plain = self.serve("plain", folder, settings)
        plain.ask("tenant", "add", "other")
        self.during("peace", plain, None)
        for name, event in {
            "import": self.imports,
            "scrapes": self.scrapes,
            "loads": self.loads,
        }.items():
            self.during(name, plain, event)
        plain.server.stop()
        over_tls = self.serve("over TLS", folder, self.certificates.settings, scheme="https")
        self.during("peace over TLS", over_tls, None)
        self.during("certificates", over_tls, self.replaces)

    def serve(self, name, folder, environment, **more):
        product = Bancheck(
            self.stage, self.binaries, name, folder, core=SERVER_CORE, environment=environment, **more
        )
        return product.with_key()

    def during(self, name, product, event):
        """Asks once a round while it goes on, over and over."""
        over, failed, times = threading.Event(), [], [0]

        def go_on():
            try:
                # This thread, and what it begins: it is the server whose checks may feel it, not the load.
                os.sched_setaffinity(0, {LOAD_CORE})
                os.nice(19)
                while not over.is_set():
                    event(product, over, times[0])
                    times[0] += 1
            except (Failed, OSError) as error:
                failed.append(f"{name}: {error}")

        goes_on = threading.Thread(target=go_on) if event else None
        if goes_on:
            goes_on.start()
        try:
            for number in range(self.told.rounds):
                told = self.load.at_a_rate(
                    self.binaries.bancheck,
                    product.port,
                    RATE,
                    self.told.seconds,
                    FEW * ONE_IN,
                    product.key,
                    ["--ca", self.certificates.root] if product.scheme == "https" else (),
                    scheme=product.scheme,
                )
                self.results.add("meanwhile", name, round=number, **told)
        finally:
            over.set()
            if goes_on:
                goes_on.join()
        if failed or (event and not times[0]):
            raise Failed(failed[0] if failed else f"{name}: it did not happen once")
        self.results.add("meanwhile", name, times=times[0])
        say(f"meanwhile: {name}, {times[0]} times")

    def imports(self, product, over, time_of):
        rows = self.told.bans // 20
        file = bans_file(self.stage.folder / "rows.csv", rows, 5 * 10**9 + time_of * rows)
        product.take(file, rows, "--tenant", "other")

    def scrapes(self, product, over, time_of):
        product.get("metrics").read()
        over.wait(0.1)

    def loads(self, product, over, time_of):
        tenant = f"large-{time_of % 2}"
        command = ["check", "--tenant", tenant, "--channel", "call", "+420601123456"]
        # Until it is there, answers are by the failure mode.
        while not over.is_set():
            told = json.loads(product.ask("--output", "json", *command))
            if told["basis"].endswith("_BASIS_FRESH"):
                return
            over.wait(0.05)

    def replaces(self, product, over, time_of):
        self.certificates.make("next", "subjectAltName=IP:127.0.0.1", by="root")
        for kind in "key", "pem":
            os.replace(self.stage.folder / f"next.{kind}", self.stage.folder / f"server.{kind}")
        over.wait(1)


def write(results, facts, into):
    """docs/performance/meanwhile.md."""
    rows = []
    for name, words in EVENTS.items():
        peace = "peace over TLS" if name == "certificates" else "peace"
        figures = [
            spread(
                [one / 1e3 for one in results.all("meanwhile", name, what)],
                results.median("meanwhile", name, what) / 1e3,
            )
            for what in ("p50", "p99", "p99.9")
        ]
        ratio = results.median("meanwhile", name, "p99") / results.median("meanwhile", peace, "p99")
        times = results.all("meanwhile", name, "times")[0]
        rows.append([words, str(times or "–"), *figures, f"{ratio:.2f}"])
    page = [
        "# What checks feel of all else",
        "",
        f"Made by `benches/compare meanwhile`; do not edit. {RATE:,} checks a second about a tenant of {FEW:,} bans, while",
        "something goes on that is about others: latencies in ms as a caller sees them, the load's timer of a millisecond",
        "included. The server is on one core and all else on the other, where whoever imports gives way to the load;",
        "SQLite.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        *table(["meanwhile", "times", "p50", "p99", "p99.9", "p99 ÷ in peace"], rows),
    ]
    keep(into, "meanwhile", page)
