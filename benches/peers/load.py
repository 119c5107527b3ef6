"""Those who ask. Each tells how many answers it had, how many a second, and how long they took.

All of them stay on the core that is left for whoever asks, unless they are told to take any.
"""

import csv
import json
import re
from contextlib import contextmanager

from .stage import LOAD_CORE, Failed, pinned_to
from .tools import program

CHECK = "bancheck.v1.CheckService/"
PERCENTILES = {"p50": 0.5, "p99": 0.99}


class Load:
    """Whoever asks."""

    def __init__(self, stage):
        self.folder = stage.folder
        self.core = LOAD_CORE
        self.h2load = program("h2load")

    @contextmanager
    def on_any_core(self):
        self.core = None
        yield
        self.core = LOAD_CORE

    def run(self, tool, *arguments, **more):
        return tool.output(*arguments, preexec_fn=pinned_to(self.core), **more)

    def http(self, address, count, connections, streams, flags=(), longs=False):
        """h2load: what it prints, read; every reply must have been good."""
        log = self.folder / "h2load.tsv"
        log.unlink(missing_ok=True)
        if longs:
            flags = [*flags, "--log-file", log]
        count = max(count, connections)
        told = self.run(self.h2load, "-n", count, "-c", connections, "-m", streams, *flags, address)
        if f"status codes: {count} 2xx" not in told:
            raise Failed(f"{address}: {told}")
        figures = {
            "count": count,
            "rate": number(r"finished in .*, ([\d.]+) req/s", told),
            "bytes": number(r"traffic:.*\((\d+)\) data", told),
        }
        if longs:
            lines = log.read_text().splitlines()
            figures |= percentiles(int(line.split("\t")[2]) for line in lines)
        return figures

    def asking(self, body, key=None):
        """What h2load has to be told for a call of gRPC."""
        flags = ["-d", self.folder / f"{body}.body"]
        flags += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        return flags + (["-H", f"authorization: Bearer {key}"] if key else [])

    def grpc(self, port, method, body, count, connections=8, streams=32, key=None, longs=False):
        """One body, sent over and over again."""
        flags = self.asking(body, key)
        address = f"http://127.0.0.1:{port}/{method}"
        figures = self.http(address, count, connections, streams, flags, longs)
        # An error has no body; an answer has one, if only its frame.
        if figures["bytes"] < 5 * count:
            raise Failed(f"{address}: {figures['bytes']:.0f} bytes in {count} answers")
        return figures

    def flood(self, port, method, body, seconds, connections, streams, key):
        """As much as is answered in these seconds, refusals included: how many a second."""
        told = self.run(
            self.h2load,
            "-D",
            seconds,
            "-c",
            connections,
            "-m",
            streams,
            *self.asking(body, key),
            f"http://127.0.0.1:{port}/{method}",
        )
        return number(r"finished in .*, ([\d.]+) req/s", told)

    def at_a_rate(
        self,
        bancheck,
        port,
        rate,
        seconds,
        numbers,
        key,
        flags=(),
        warm_up=1,
        scheme="http",
        may_refuse=False,
    ):
        """`bancheck bench load`, by which every question is due at an instant of its own and its
        latency counts from then. h2load sends what is due in bursts, up to a tenth of a second's at
        a time, so what it calls latency at a fixed rate is its own. Here up to a millisecond of it is, the
        step of the runtime's timer."""
        told = self.run(
            bancheck,
            "bench",
            "load",
            "--output",
            "json",
            "--endpoint",
            f"{scheme}://127.0.0.1:{port}",
            "--queue",
            "support",
            "--connections",
            8,
            "--in-flight",
            32,
            "--seconds",
            seconds,
            "--warm-up",
            warm_up,
            "--numbers",
            numbers,
            *(["--rate", rate] if rate else []),
            *flags,
            env={"BANCHECK_TOKEN": key or ""},
            # With 1 where any was refused.
            ends=(0, 1) if may_refuse else (0,),
        )
        told = json.loads(told)
        refused = told["errors"].pop("OVERLOADED", 0) if may_refuse else 0
        if told["errors"] or told["not_fresh"]:
            raise Failed(
                f"of {told['checks']} checks at a rate: {told['errors']}, not fresh {told['not_fresh']}"
            )
        times = told["latency_us"]
        return {
            "count": told["checks"],
            "rate": told["checks_per_second"],
            "denied": told["denied"],
            "changes": told.get("changes_per_second", 0),
            "refused": refused / seconds,
            "p50": times["p50"],
            "p99": times["p99"],
            "p99.9": times["p99_9"],
        }

    def redis(self, port, count, clients, pipeline=1, keys=1_000_000):
        """redis-benchmark, GET of keys drawn at random."""
        told = self.run(
            program("redis-benchmark"),
            "-p",
            port,
            "-n",
            count,
            "-c",
            clients,
            "-P",
            pipeline,
            "-r",
            keys,
            "--csv",
            "GET",
            "key:__rand_int__",
        )
        header, values = csv.reader(told.splitlines()[-2:])
        told = dict(zip(header, values))
        figures = {"count": count, "rate": float(told["rps"])}
        return figures | {one: float(told[f"{one}_latency_ms"]) * 1e3 for one in PERCENTILES}

    def postgres(self, pgbench, address, script, clients, each, longs=False):
        """pgbench, its statement prepared."""
        log = self.folder / "pgbench"
        flags = ["--log", f"--log-prefix={log}"] if longs else []
        told = self.run(
            pgbench,
            "-n",
            "-M",
            "prepared",
            "-c",
            clients,
            "-j",
            1,
            "-t",
            each,
            "-f",
            script,
            *flags,
            address,
        )
        count = clients * each
        if f"transactions actually processed: {count}/{count}" not in told:
            raise Failed(told)
        figures = {"count": count, "rate": number(r"tps = ([\d.]+) \(without", told)}
        for file in self.folder.glob("pgbench.*") if longs else ():
            figures |= percentiles(int(line.split()[2]) for line in file.read_text().splitlines())
            file.unlink()
        return figures

    def dns(self, port, questions, times):
        """dnsperf over UDP."""
        told = self.run(
            program("dnsperf"),
            "-s",
            "127.0.0.1",
            "-p",
            port,
            "-d",
            questions,
            "-c",
            8,
            "-T",
            1,
            "-n",
            times,
        )
        count = number(r"Queries completed:\s+(\d+)", told)
        good = number(r"NOERROR (\d+)", told)
        # UDP may lose one now and then.
        if good < 0.999 * number(r"Queries sent:\s+(\d+)", told):
            raise Failed(told[-2000:])
        return {"count": count, "rate": number(r"Queries per second:\s+([\d.]+)", told)}


def number(pattern, text):
    found = re.search(pattern, text)
    if found is None:
        raise Failed(f"no {pattern} in: {text[-2000:]}")
    return float(found[1])


def percentiles(times):
    """Of times in microseconds."""
    times = sorted(times)
    return {name: times[int(len(times) * part)] for name, part in PERCENTILES.items()}
