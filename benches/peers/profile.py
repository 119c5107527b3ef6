"""Where the time of a check goes, beside that of its echo: a flame graph of each, and a table by layer.

Both answer on one core as fast as they are asked. What a check costs is taken from rounds without a
profiler, where it goes from stacks that perf takes: of each, the innermost frame that is somebody's counts.
"""

import re
import signal
from collections import Counter

from .load import CHECK, Load
from .page import keep, spread, table
from .product import Bancheck, Echo, seeded
from .rounds import Subject, play
from .stage import LOAD_CORE, SERVER_CORE, Failed, say
from .tools import inferno, program
from .wire import write_bodies

# Stacks a second, and bytes of each; a stack is unwound by what the compiler tells of frames.
OFTEN, DEEP = 1_499, 16_384
# Whose a frame is, by its name; the first that fits.
LAYERS = (
    (r"_\[k\]$", "the system: sockets and waiting for them"),
    (r"^(mi_|_mi_|malloc|free|realloc|calloc|operator )", "allocator"),
    (r"^(__mem|mem(cpy|cmp|set|move)|_*strlen)", "copying and comparing bytes"),
    (r"\bbancheck::(auth)\b", "bancheck: who asks"),
    (r"\bbancheck::(server)\b", "bancheck: connections and rounds"),
    (r"\bbancheck::(telemetry|tally)\b", "bancheck: counting"),
    (r"\bbancheck::(checker|views|domain)\b|rlibphonenumber", "bancheck: canonical form, look-up, decision"),
    (r"\bbancheck::api\b", "bancheck: the call, taken apart and answered"),
    (r"\b(prost|bytes)::", "protobuf and buffers"),
    (r"\b(h2|hyper|hyper_util|http|http_body|http_body_util|httparse)::", "HTTP/2"),
    (r"\b(tonic|tower|tower_service)::", "gRPC (tonic)"),
    (r"\b(tokio|tokio_util|mio|futures_util|futures_core)::", "the runtime (tokio)"),
)
ELSE = "all else"


class Profile:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results):
        self.stage, self.told, self.results = stage, told, results
        self.load = Load(stage)
        self.perf = program("perf")
        self.fold, self.draw = inferno("inferno-collapse-perf"), inferno("inferno-flamegraph")
        write_bodies(stage.folder)
        folder = seeded(binaries, (told.seeded or stage.folder) / str(told.bans), told.bans)
        self.product = Bancheck(stage, binaries, "large", folder, core=SERVER_CORE).with_key().verify()
        self.echo = Echo(stage, binaries.check_echo, core=SERVER_CORE)

    def run(self):
        subjects = [
            Subject("check", self.product.server, self.checks),
            Subject("echo", self.echo.server, self.echoes),
        ]
        play(self.results, "profile", subjects, self.told.rounds)
        for subject in subjects:
            self.results.add("stacks", subject.name, layers=self.stacks(subject))
            say(f"profiled: {subject.name}")

    def checks(self, part):
        return self.product.checks(self.load, "miss", round(part * self.told.requests))

    def echoes(self, part):
        count = round(part * self.told.requests)
        return self.load.grpc(self.echo.port, f"{CHECK}CheckInteraction", "miss", count, key=self.product.key)

    def stacks(self, subject):
        """Each layer's share of the stacks that were taken while it answered; draws the flame graph."""
        data = self.stage.folder / "perf.data"
        recording = ["record", "-q", "-e", "cpu-clock", "-F", OFTEN, "--call-graph", f"dwarf,{DEEP}"]
        pid = subject.server.process.pid
        profiler = self.stage.begin(
            f"perf of {subject.name}",
            [self.perf.path, *recording, "-p", pid, "-o", data],
            core=LOAD_CORE,
            end=signal.SIGINT,
            environment=self.perf.environment,
        ).until(data.exists)
        subject.ask(1)
        profiler.stop()
        frames = ["script", "-i", data, "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso"]
        folded = self.fold.output("--kernel", stdin=None, input=self.perf.output(*frames))
        if not folded:
            raise Failed(f"perf took no stack of {subject.name}")
        title = {"check": "A check", "echo": "The echo of its messages"}[subject.name]
        drawn = self.draw.output("--title", title, "--minwidth", "0.2", stdin=None, input=folded)
        picture = self.told.into / "performance" / f"flame-{subject.name}.svg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(drawn)
        return shares(folded)


def shares(folded):
    counts = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[layer(stack.split(";"))] += int(count)
    whole = sum(counts.values())
    return {name: count / whole for name, count in counts.items()}


def layer(stack):
    for frame in reversed(stack):
        for pattern, name in LAYERS:
            if re.search(pattern, frame):
                return name
    return ELSE


def write(results, facts, into):
    """docs/performance/profile.md."""
    costs = {name: results.median("profile", name, "cpu") for name in ("check", "echo")}
    [check], [echo] = (results.all("stacks", name, "layers") for name in ("check", "echo"))
    rows = []
    for name in [name for _, name in LAYERS] + [ELSE]:
        spent = check.get(name, 0) * costs["check"], echo.get(name, 0) * costs["echo"]
        rows.append([name, *(f"{one:.2f}" for one in spent), f"{spent[0] - spent[1]:+.2f}"])
    whole = [spread(results.all("profile", which, "cpu"), cost) for which, cost in costs.items()]
    rows.append(["all of it", *whole, f"{costs['check'] - costs['echo']:+.2f}"])
    page = [
        "# Where the time of a check goes",
        "",
        "Made by `benches/compare profile`; do not edit. A check of an allowed number under an API key, at 8 connections",
        "× 32 streams, and the echo of its messages: the server's CPU an answer, in microseconds, by whose code it is",
        "spent in. What the compiler has made part of a caller is the caller's.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        *table(["what", "check", "its echo", "over it"], rows),
        "",
        "![A check](flame-check.svg)",
        "![Its echo](flame-echo.svg)",
    ]
    keep(into, "profile", page)
