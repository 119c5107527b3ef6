"""What else could be asked whether somebody is banned, each filled and ready.

Nobody here is configured to be slow: persistence, logs and telemetry are off where they could cost a
look-up anything, and each is asked the cheapest question that it has for "is this one banned?".
"""

import os
import pwd
import random
import signal

from . import wire
from .stage import SERVER_CORE, Failed
from .tools import Missing, cerbos, program

CERBOS_METHOD = "cerbos.svc.v1.CerbosService/CheckResources"


class Redis:
    """A key a ban; GET of one drawn at random."""

    def __init__(self, stage, keys):
        server, self.client = program("redis-server"), program("redis-cli")
        self.keys = keys
        [self.port] = stage.ports(1)
        self.server = stage.begin(
            "redis",
            [server.path, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            core=SERVER_CORE,
            environment=server.environment,
        ).until_connected(self.port)
        self.version = server.version(r"v=(\S+)")
        empty = self.server.resident()
        # As redis-benchmark makes up their names.
        commands = stage.folder / "redis.commands"
        commands.write_text("".join(f"SET key:{at:012} 1\r\n" for at in range(keys)))
        with open(commands) as lines:
            self.client.output("-p", self.port, "--pipe", stdin=lines)
        commands.unlink()
        self.bytes_a_key = (self.server.resident() - empty) / keys

    def asked(self, load, count, clients, pipeline=1):
        before = self.hits()
        figures = load.redis(self.port, count, clients, pipeline, self.keys)
        # With a pipeline it sends whole ones, some of them after the last that it counts.
        if self.hits() - before < count:
            raise Failed(f"Redis found {self.hits() - before} of {count} keys")
        return figures

    def hits(self):
        told = self.client.output("-p", self.port, "info", "stats")
        return int(told.split("keyspace_hits:")[1].split()[0])


class Postgres:
    """A row a ban; a prepared look-up of one by the digest of its number."""

    ADDRESS = "postgres://postgres@127.0.0.1"

    def __init__(self, stage, kept):
        self.stage = stage
        initdb, self.program = program("initdb"), program("postgres")
        self.psql, self.pgbench = program("psql"), program("pgbench")
        home = kept / "postgres"
        user = None
        if os.geteuid() == 0:
            # It refuses to be root.
            names = {one.pw_name for one in pwd.getpwall()}
            user = "postgres" if "postgres" in names else "nobody"
        if not (home / "data" / "PG_VERSION").exists():
            home.mkdir(parents=True)
            if user:
                os.chown(home, pwd.getpwnam(user).pw_uid, -1)
            flags = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
            try:
                initdb.output("-D", home / "data", *flags, user=user, cwd="/")
            except (Failed, PermissionError) as error:
                raise Missing(f"Postgres: {error}") from None
        [self.port] = stage.ports(1)
        self.server = stage.begin(
            "postgres server",
            [
                self.program.path,
                "-D",
                home / "data",
                "-p",
                self.port,
                "-k",
                home,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "shared_buffers=512MB",
                "-c",
                "max_wal_size=4GB",
                "-c",
                "fsync=off",
            ],
            environment=self.program.environment,
            user=user,
            end=signal.SIGINT,
        ).until_connected(self.port)
        self.version = self.program.version(r"\) (\S+)")
        self.server.until(self.answers)

    def answers(self):
        try:
            return self.sql("SELECT 1") == "1"
        except Failed:
            return False

    def sql(self, statement, database="postgres"):
        return self.psql.output(
            "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.address(database)
        ).strip()

    def address(self, database="postgres"):
        return f"{self.ADDRESS}:{self.port}/{database}"

    def with_rows(self, rows):
        """A table such as somebody would make who asks Postgres itself."""
        self.rows = rows
        if self.sql("SELECT to_regclass('bans')") == "" or self.sql("SELECT count(*) FROM bans") != str(rows):
            self.sql(
                "DROP TABLE IF EXISTS bans; CREATE TABLE bans (digest uuid PRIMARY KEY, until bigint);"
                f"INSERT INTO bans SELECT md5(n::text)::uuid, n FROM generate_series(1, {rows}) AS n;"
            )
        self.sql("VACUUM (FREEZE, ANALYZE) bans")
        self.bytes_a_row = int(self.sql("SELECT pg_total_relation_size('bans')")) / rows
        self.script = self.stage.folder / "look-up.sql"
        # \gset fails where there is not one row.
        self.script.write_text(
            f"\\set n random(1, {rows})\nSELECT until FROM bans WHERE digest = md5(:n::text)::uuid \\gset\n"
        )
        return self

    def asked(self, load, clients, each, longs=False):
        return load.postgres(self.pgbench, self.address(), self.script, clients, each, longs)


class Cerbos:
    """A policy that knows one customer who may not call, the smallest there can be."""

    POLICY = f"""
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: call
  version: default
  rules:
    - {{actions: [place], effect: EFFECT_ALLOW, roles: [customer]}}
    - actions: [place]
      effect: EFFECT_DENY
      roles: [customer]
      condition: {{match: {{expr: 'P.id == "{wire.BANNED}"'}}}}
"""

    def __init__(self, stage, load):
        self.program = cerbos()
        policies = stage.folder / "policies"
        policies.mkdir()
        (policies / "call.yaml").write_text(self.POLICY)
        self.port, http = stage.ports(2)
        settings = {
            "server.grpcListenAddr": f"127.0.0.1:{self.port}",
            "server.httpListenAddr": f"127.0.0.1:{http}",
            "storage.driver": "disk",
            "storage.disk.directory": policies,
            "telemetry.disabled": "true",
        }
        self.server = stage.begin(
            "cerbos",
            [
                self.program.path,
                "server",
                "--log-level=error",
                *(f"--set={name}={value}" for name, value in settings.items()),
            ],
            core=SERVER_CORE,
        ).until_connected(self.port)
        self.version = self.program.version(r"(\S+)")
        # What an answer that allows is long.
        self.bytes = self.asked(load, 1, expect=False)["bytes"]

    def asked(self, load, count, expect=True):
        figures = load.grpc(self.port, CERBOS_METHOD, "cerbos", count, connections=8 if expect else 1)
        if expect and figures["bytes"] != self.bytes * count:
            raise Failed(f"Cerbos: {figures['bytes']} bytes in {count} answers, and not {self.bytes} in each")
        return figures


class CrowdSec:
    """Its local API, asked in live mode, as a bouncer asks before it lets an address in."""

    CONFIG = """
common: {{daemonize: false, log_media: stdout, log_level: error}}
config_paths:
  config_dir: {home}
  data_dir: {home}
  simulation_path: {home}/simulation.yaml
  hub_dir: {home}
  index_path: {home}/.index.json
  notification_dir: {home}/none
  plugin_dir: {home}/none
db_config: {{type: sqlite, db_path: {home}/crowdsec.db, use_wal: true}}
api:
  client: {{credentials_path: {home}/credentials.yaml}}
  server: {{log_level: error, listen_uri: "127.0.0.1:{port}", profiles_path: {home}/profiles.yaml}}
prometheus: {{enabled: false}}
"""

    def __init__(self, stage, decisions):
        server, cscli = program("crowdsec"), program("cscli")
        [self.port] = stage.ports(1)
        home = stage.folder / "crowdsec"
        (home / "none").mkdir(parents=True)
        config = home / "config.yaml"
        config.write_text(self.CONFIG.format(home=home, port=self.port))
        (home / ".index.json").write_text("{}")
        (home / "simulation.yaml").write_text("simulation: false\n")
        (home / "profiles.yaml").write_text(
            'name: none\nfilters: ["false"]\ndecisions: []\non_success: break\n'
        )
        cscli.output("-c", config, "machines", "add", "here", "--auto", "--force")
        self.server = stage.begin("crowdsec", [server.path, "-c", config, "-no-cs"], core=SERVER_CORE)
        self.server.until_connected(self.port)
        self.version = server.version(r"version: v([\d.]+)", "-version")
        self.key = cscli.output("-c", config, "bouncers", "add", "here", "-o", "raw").split()[-1]
        csv = home / "decisions.csv"
        addresses = (f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}" for at in range(decisions))
        csv.write_text(
            "duration,scope,value,reason,type\n"
            + "".join(f"24h,ip,{one},to measure with,ban\n" for one in addresses)
        )
        cscli.output("-c", config, "decisions", "import", "-i", csv)

    def asked(self, load, count):
        # Somebody who is not banned: "null", four bytes.
        address = f"http://127.0.0.1:{self.port}/v1/decisions?ip=192.0.2.1"
        figures = load.http(address, count, 8, 1, ["--h1", "-H", f"X-Api-Key: {self.key}"])
        if figures["bytes"] != 4 * count:
            raise Failed(f"CrowdSec: {figures['bytes']:.0f} bytes in {count} answers")
        return figures


class Rbldnsd:
    """Addresses in a zone, asked over UDP."""

    QUESTIONS = 20_000

    def __init__(self, stage, entries):
        tool = program("rbldnsd")
        program("dnsperf")
        home = stage.folder / "rbldnsd"
        home.mkdir()
        draw = random.Random(1)
        listed = sorted(draw.sample(range(1 << 24, 200 << 24), entries))
        (home / "zone").write_text("".join(dotted(one) + "\n" for one in listed))
        asked = draw.choices(listed, k=self.QUESTIONS)
        backwards = (".".join(reversed(dotted(one).split("."))) for one in asked)
        self.questions = home / "questions"
        self.questions.write_text("".join(f"{one}.bans.test A\n" for one in backwards))
        [self.port] = stage.ports(1)
        as_whom = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.server = stage.begin(
            "rbldnsd",
            [tool.path, "-n", *as_whom, "-b", f"127.0.0.1/{self.port}", "-w", home, "bans.test:ip4set:zone"],
            core=SERVER_CORE,
            environment=tool.environment,
        )
        self.server.until(lambda: "started" in self.server.words())
        self.version = self.server.words().split("rbldnsd version ")[1].split()[0]

    def asked(self, load, times):
        return load.dns(self.port, self.questions, times)


def dotted(address):
    return ".".join(str(address >> bits & 255) for bits in (24, 16, 8, 0))
