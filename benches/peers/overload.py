"""What a flood costs those who do not flood: one caller's checks at a fixed rate, in peace and while another
asks more than a core can answer.

The flood's connections have as much in flight as a connection may, at any time, and never rest after a
refusal: what it asks is whatever the server is ready to read. It is about a tenant of its own.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import wire
from .load import CHECK, Load
from .page import keep, spread, table
from .product import Bancheck, seeded
from .stage import SERVER_CORE, say

RATE, FEW, LIMIT = 2_000, 10_000, 10_000
# As many as HTTP/2 here lets a connection have.
IN_FLIGHT = 256
# Seconds by which the flood begins before the other caller does, and ends after, who warms up first.
MARGIN, WARM_UP = 1, 1


@dataclass
class Flood:
    connections: int
    words: str
    settings: tuple = ()


FLOODS = {
    "few": Flood(16, "16 connections"),
    "limited": Flood(
        16,
        f"16 connections, `tenant_checks_per_second` at {LIMIT:,}",
        (("BANCHECK_TENANT_CHECKS_PER_SECOND", str(LIMIT)),),
    ),
    "many": Flood(64, "64 connections"),
}


class Overload:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results):
        self.stage, self.binaries, self.told, self.results = stage, binaries, told, results
        self.load, self.key = Load(stage), None
        body = wire.framed(wire.question(wire.ALLOWED, "other"))
        (stage.folder / "flood.body").write_bytes(body)

    def run(self):
        folder = seeded(self.binaries, self.stage.folder / "overload", FEW)
        for name, flood in FLOODS.items():
            environment = {"BANCHECK_AUTH": "on", **dict(flood.settings)}
            product = Bancheck(
                self.stage, self.binaries, name, folder, core=SERVER_CORE, environment=environment
            ).with_key()
            if not self.key:
                product.ask("tenant", "add", "other")
                told = product.ask("key", "add", "flood", "--tenant", "other", "--scope", "check")
                self.key = told.split()[-1]
            for number in range(self.told.rounds):
                self.results.add("overload", "peace", round=number, **self.other_caller(product))
                self.results.add("overload", name, round=number, **self.under(flood, product))
            product.server.stop()
            say(f"overload: {name}")

    def other_caller(self, product, **more):
        """Whoever does not flood."""
        return self.load.at_a_rate(
            self.binaries.bancheck,
            product.port,
            RATE,
            self.told.seconds,
            FEW * wire.ONE_IN,
            product.key,
            warm_up=WARM_UP,
            **more,
        )

    def under(self, flood, product):
        seconds = MARGIN + WARM_UP + self.told.seconds + MARGIN
        refused = refusals(product)
        with ThreadPoolExecutor(1) as pool:
            method = CHECK + "CheckInteraction"
            load = [product.port, method, "flood", seconds, flood.connections, IN_FLIGHT, self.key]
            asked = pool.submit(self.load.flood, *load)
            time.sleep(MARGIN)
            figures = self.other_caller(product, may_refuse=True)
            resident = product.server.resident()
        return {
            **figures,
            "flood": asked.result(),
            "refusals": (refusals(product) - refused) / seconds,
            "resident": resident,
        }


def refusals(product):
    """So far, of either kind."""
    told = product.get("metrics").read().decode()
    found = re.findall(r'bancheck_refusals_total\{reason="(?:OVERLOADED|RATE_LIMITED)"\} (\d+)', told)
    return sum(map(int, found))


def write(results, facts, into):
    """docs/performance/overload.md."""

    def told(name, what, scale=1.0):
        values = [one / scale for one in results.all("overload", name, what)]
        return spread(values, results.median("overload", name, what) / scale) if values else "–"

    rows = []
    for name, words in {"peace": "nobody", **{name: flood.words for name, flood in FLOODS.items()}}.items():
        ratio = results.median("overload", name, "p99") / results.median("overload", "peace", "p99")
        rows.append(
            [
                words,
                *(told(name, what) for what in ("flood", "refusals", "rate", "refused")),
                *(told(name, what, 1e3) for what in ("p50", "p99")),
                f"{ratio:.1f}",
                told(name, "resident", 1e6),
            ]
        )
    page = [
        "# What a flood costs others",
        "",
        f"Made by `benches/compare overload`; do not edit. One caller makes {RATE:,} checks a second, while another asks about",
        f"a tenant of its own, {IN_FLIGHT} checks in flight on each of its connections at any time, and never rests after a refusal.",
        "Latencies in ms as the first caller sees them, the load's timer of a millisecond included. The server is on one",
        "core, which the flood fills; both callers are on the other. What a flood asks beyond its share waits, and is not read.",
        "Refused without a limit are the first of many connections at once: all headers come before the first message, and so",
        "more than `max_checks` are in flight for a moment.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        *table(
            [
                "who floods",
                "its answers/s",
                "of which refused",
                "the other's/s",
                "of which refused",
                "p50",
                "p99",
                "p99 ÷ in peace",
                "resident MB",
            ],
            rows,
        ),
    ]
    keep(into, "overload", page)
