"""The comparison: a check beside the two echoes, and beside what else could be asked."""

import time

from . import others, wire
from .load import CHECK, Load
from .product import EMPTY, Bancheck, Echo, bans_file, seeded
from .rounds import BESIDE, SHORT, Results, Subject, play
from .stage import SERVER_CORE, Failed, say
from .tools import Missing

# Requests a second of the fixed rate.
RATE = 5_000
CROWDSEC_DECISIONS, RBLDNSD_ENTRIES = 100_000, 1_000_000


class Comparison:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results: Results):
        self.stage, self.binaries, self.told, self.results = stage, binaries, told, results
        self.load = Load(stage)
        self.versions, self.missing = {}, []
        wire.write_bodies(stage.folder)
        self.kept = told.seeded or stage.folder / "seeded"
        self.large = seeded(binaries, self.kept / str(told.bans), told.bans)
        self.small = seeded(binaries, self.kept / str(told.small), told.small)

    def run(self):
        peers = self.peers()
        self.starts(peers.get("postgres"))
        self.pinned(peers)
        self.on_any_core()

    def serve(self, name, folder, **more):
        return Bancheck(self.stage, self.binaries, name, folder, **more)

    # --- those it is measured against ------------------------------------------------------------------

    def peers(self):
        """Everybody who can be had here; of the others it is said that they cannot."""
        keys = self.told.bans
        makers = {
            "redis": lambda: others.Redis(self.stage, keys),
            "postgres": lambda: others.Postgres(self.stage, self.kept).with_rows(keys),
            "cerbos": lambda: others.Cerbos(self.stage, self.load),
            "crowdsec": lambda: others.CrowdSec(self.stage, CROWDSEC_DECISIONS),
            "rbldnsd": lambda: others.Rbldnsd(self.stage, RBLDNSD_ENTRIES),
        }
        found = {}
        for name, make in makers.items():
            if name in self.told.without:
                self.missing.append(f"{name}: left out by --without")
                continue
            say(f"beginning {name}")
            try:
                found[name] = make()
                self.versions[name] = found[name].version
            except Missing as reason:
                self.missing.append(f"{name}: {reason}")
        for reason in self.missing:
            say(f"not counted: {reason}")
        if redis := found.get("redis"):
            self.results.add("once", "redis", bytes=redis.bytes_a_key)
        if postgres := found.get("postgres"):
            self.results.add("once", "postgres", bytes=postgres.bytes_a_row)
        return found

    # --- starts, which are timed on a machine that does nothing else -----------------------------------

    def starts(self, postgres):
        empty = self.stage.folder / "empty"
        # The first one makes the database.
        self.serve("first", empty).server.stop()
        places = [("empty", empty, None), ("large", self.large, None)]
        if postgres:
            places.append(("large on Postgres", self.stage.folder / "none", self.filled(postgres)))
        for name, folder, environment in places:
            for _ in range(self.told.starts):
                product = self.serve(name, folder, environment=environment)
                self.results.add("start", name, ms=product.milliseconds, resident=product.server.resident())
                product.server.stop()
            say(f"started {self.told.starts} times: {name}")

        self.imports("SQLite", empty, None)
        if postgres:
            postgres.sql("DROP DATABASE IF EXISTS imports")
            postgres.sql("CREATE DATABASE imports")
            environment = {**places[2][2], "BANCHECK_DATABASE_URL": postgres.address("imports")}
            self.imports("Postgres", self.stage.folder / "none", environment)

    def imports(self, name, folder, environment):
        """How fast a file of bans is taken while checks go on."""
        rows = self.told.bans
        file = bans_file(self.stage.folder / "bans.csv", rows, 6 * 10**9)
        product = self.serve(f"{name} that imports", folder, environment=environment)
        if environment:
            product.ask("tenant", "add", "default")
        checks = self.stage.begin(
            f"checks meanwhile, {name}",
            [
                *(self.binaries.bancheck.path, "bench", "load", "--rate=1000", "--seconds=3600"),
                f"--endpoint=http://127.0.0.1:{product.port}",
            ],
            environment=product.environment,
        )
        began = time.monotonic()
        product.take(file, rows)
        seconds = time.monotonic() - began
        if checks.process.poll() is not None:
            raise Failed(f"checks during an import: {checks.words()}")
        self.results.add("import", name, rate=rows / seconds)
        checks.stop()
        product.server.stop()
        say(f"imported {rows} bans: {name}")

    def filled(self, postgres):
        """The same bans in Postgres."""
        name, key = f"bancheck_{self.told.bans}", self.kept / "master.key"
        if not key.exists():
            key.write_text(self.binaries.bancheck.output("key", "generate"))
        place = lambda name: {
            "BANCHECK_DATABASE_URL": postgres.address(name),
            "BANCHECK_MASTER_KEY": key.read_text().strip(),
        }
        if not postgres.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            postgres.sql("DROP DATABASE IF EXISTS part")
            postgres.sql("CREATE DATABASE part")
            say(f"filling Postgres with {self.told.bans} bans")
            self.binaries.bancheck.output("bench", "seed", self.told.bans, env=place("part"))
            postgres.sql("VACUUM ANALYZE", "part")
            postgres.sql(f"ALTER DATABASE part RENAME TO {name}")
        return place(name)

    # --- rounds ----------------------------------------------------------------------------------------

    def pinned(self, peers):
        core = {"core": SERVER_CORE}
        # Every denial is a line of the log, and a disk is no part of what is measured.
        large = self.serve("large", self.large, keeps_log=False, **core).with_key().verify()
        small = self.serve("small", self.small, keeps_log=False, **core).with_key().verify()
        check_echo = Echo(self.stage, self.binaries.check_echo, **core)
        empty_echo = Echo(self.stage, self.binaries.empty_echo, **core)
        if postgres := peers.get("postgres"):
            postgres.server.move_to(SERVER_CORE)
        subjects = [
            *self.checks(large, check_echo),
            self.empty(empty_echo),
            self.subject("small", small, "miss"),
            self.subject("50 x 1", large, "miss", 0.5, connections=50, streams=1),
            self.subject("batch", large, "batch", 0.01, connections=8, streams=4),
            self.subject("stream", large, "stream", 0.0005, connections=4, streams=1),
            *self.single(large, check_echo, peers),
            *self.at_a_rate(large, check_echo),
            *self.of_peers(peers),
        ]
        # The machine is the same for both in a round as short as these.
        play(self.results, BESIDE, self.checks(large, check_echo, 1 / SHORT), SHORT * self.told.rounds)
        play(self.results, "pinned", subjects, self.told.rounds)
        self.results.add("start", "busy", resident=large.server.resident())
        for one in large, small, check_echo, empty_echo:
            one.server.stop()

    def on_any_core(self):
        large = self.serve("large", self.large, keeps_log=False).with_key().verify()
        check_echo = Echo(self.stage, self.binaries.check_echo)
        empty_echo = Echo(self.stage, self.binaries.empty_echo)
        with self.load.on_any_core():
            subjects = [*self.checks(large, check_echo), self.empty(empty_echo)]
            play(self.results, "open", subjects, self.told.rounds)

    def checks(self, large, check_echo, of=1.0):
        return [
            self.subject("miss", large, "miss", of),
            self.subject("hit", large, "hit", of),
            self.echo("check echo", check_echo, large.key, of),
        ]

    def empty(self, empty_echo):
        def ask(part):
            return self.load.grpc(empty_echo.port, EMPTY, "empty", self.count(part))

        return Subject("empty echo", empty_echo.server, ask)

    def count(self, part, of=1.0):
        return max(100, int(self.told.requests * part * of))

    def subject(self, name, product, body, of=1.0, **more):
        def ask(part):
            count = max(more.get("connections", 8), int(self.told.requests * part * of))
            return product.checks(self.load, body, count, **more)

        return Subject(name, product.server, ask)

    def echo(self, name, echo, key, of=1.0, **more):
        def ask(part):
            count = self.count(part, of)
            return self.load.grpc(echo.port, CHECK + "CheckInteraction", "miss", count, key=key, **more)

        return Subject(name, echo.server, ask)

    def single(self, large, check_echo, peers):
        """One request at a time."""
        one = {"of": 0.05, "connections": 1, "streams": 1, "longs": True}
        yield self.subject("1 x 1", large, "miss", **one)
        yield self.echo("check echo 1 x 1", check_echo, large.key, **one)
        if redis := peers.get("redis"):
            yield Subject(
                "redis 1", redis.server, lambda part: redis.asked(self.load, self.count(part, 0.05), 1)
            )
        if postgres := peers.get("postgres"):
            yield Subject(
                "postgres 1",
                postgres.server,
                lambda part: postgres.asked(self.load, 1, self.count(part, 0.02), longs=True),
            )

    def at_a_rate(self, large, check_echo):
        """Numbers drawn at random, one in twenty of them banned."""
        seconds = max(1, self.told.requests // 50_000)
        for name, one in ("rate", large), ("check echo rate", check_echo):
            yield Subject(
                name,
                one.server,
                lambda part, one=one: self.load.at_a_rate(
                    self.binaries.bancheck,
                    one.port,
                    RATE,
                    seconds if part == 1 else 1,
                    self.told.bans * wire.ONE_IN,
                    large.key,
                ),
            )

    def of_peers(self, peers):
        load = self.load
        if redis := peers.get("redis"):
            yield Subject("redis", redis.server, lambda part: redis.asked(load, self.count(part), 50))
            yield Subject(
                "redis -P 16", redis.server, lambda part: redis.asked(load, self.count(part, 5), 50, 16)
            )
        if postgres := peers.get("postgres"):
            yield Subject(
                "postgres",
                postgres.server,
                lambda part: postgres.asked(load, 16, self.count(part, 0.0125)),
            )
        if cerbos := peers.get("cerbos"):
            yield Subject("cerbos", cerbos.server, lambda part: cerbos.asked(load, self.count(part, 0.03)))
        if crowdsec := peers.get("crowdsec"):
            yield Subject(
                "crowdsec",
                crowdsec.server,
                lambda part: crowdsec.asked(load, self.count(part, 0.0005)),
            )
        if rbldnsd := peers.get("rbldnsd"):
            yield Subject(
                "rbldnsd",
                rbldnsd.server,
                lambda part: rbldnsd.asked(load, 1 + self.count(part) // rbldnsd.QUESTIONS),
            )
