"""The curves: what bans, tenants and changes by the thousand tell.

Questions are drawn at random, one in twenty of them about a banned number, and asked by `bancheck bench
load`: as many as are answered for checks/s, then 5 000 a second for latencies. The server is on one core
and the load on the other, which has more to do than h2load would; so where the load is what is slow, the
server's CPU a check tells what checks/s does not.
"""

from .load import Load
from .product import Bancheck, seeded
from .rounds import Results
from .stage import SERVER_CORE, say
from .wire import ONE_IN

RATE = 5_000
TENANTS = 1, 100, 10_000
CHANGES = 0, 10, 1_000


class Growth:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results: Results):
        self.stage, self.binaries, self.told, self.results = stage, binaries, told, results
        self.load = Load(stage)
        self.kept = told.seeded or stage.folder / "seeded"

    def run(self):
        self.at_rest()
        most = self.told.bans
        count = 1_000
        while count <= most:
            self.point("bans", count, seeded(self.binaries, self.kept / str(count), count), count)
            count *= 10
        some = most // 10
        for tenants in TENANTS:
            folder = self.kept / f"{some} in {tenants}"
            if tenants == 1:
                folder = seeded(self.binaries, self.kept / str(some), some)
            else:
                seeded(self.binaries, folder, some, ["--tenants", tenants])
            self.point("tenants", tenants, folder, some, tenants)
        # Their bans stay, so they are made in a database of their own.
        changing = seeded(self.binaries, self.stage.folder / "changing", some)
        for changes in CHANGES:
            self.point("changes", changes, changing, some, changes=changes)

    def at_rest(self):
        empty = self.serve("empty", self.stage.folder / "empty")
        self.results.add("growth", "empty", resident=empty.server.resident())
        empty.server.stop()

    def serve(self, name, folder):
        return Bancheck(self.stage, self.binaries, name, folder, core=SERVER_CORE, keeps_log=False)

    def point(self, along, at, folder, bans, tenants=1, changes=0):
        """A point of each curve along an axis, once a round."""
        product = self.serve(f"{along} {at}", folder).with_key(*(["admin"] if along == "changes" else []))
        resident = product.server.resident()
        flags = ["--tenants", tenants]
        if changes:
            flags += ["--changes", changes, "--admin-endpoint", f"http://127.0.0.1:{product.admin}"]
        for number in range(self.told.rounds + 1):
            full, cpu = self.ask(product, None, bans // tenants, flags)
            calm, _ = self.ask(product, RATE, bans // tenants, flags)
            # The first one warms up.
            if number:
                self.results.add(
                    along,
                    str(at),
                    round=number,
                    rate=full["rate"],
                    cpu=cpu,
                    p50=calm["p50"],
                    p99=calm["p99"],
                    changes=full["changes"],
                    resident=resident,
                    bans=bans,
                    after=product.server.resident(),
                )
        product.server.stop()
        say(f"{along}: {at}")

    def ask(self, product, rate, bans_each, flags):
        """How it went, and the server's processor time a check."""
        before = product.server.cpu()
        figures = self.load.at_a_rate(
            self.binaries.bancheck,
            product.port,
            rate,
            self.told.seconds,
            bans_each * ONE_IN,
            product.key,
            flags,
            # Connections are made meanwhile; the processor's time is of all that was asked.
            warm_up=1 if rate else 0,
        )
        return figures, (product.server.cpu() - before) / figures["count"] * 1e6
