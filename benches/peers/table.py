"""What the results say of each target, and the page that is made of them."""

from dataclasses import dataclass
from statistics import median

from .rounds import BESIDE
from .wire import ONE_IN


@dataclass
class Row:
    """A target, and what was measured; None where it was not."""

    what: str
    # More than this is good, or less than it where `less` says so.
    bound: float
    value: float | None
    less: bool = False
    unit: str = ""

    def target(self):
        bound = f"{self.bound:g}" if self.bound < 1_000 else whole(self.bound)
        return f"{'≤' if self.less else '≥'} {bound}{self.unit}"

    def measured(self):
        return "not measured" if self.value is None else f"{told(self.value)}{self.unit}"

    def met(self):
        if self.value is None:
            return "–"
        return "**no**" if self.is_missed() else "yes"

    def is_missed(self):
        if self.value is None:
            return False
        return self.value > self.bound if self.less else self.value < self.bound


# Targets that other commands measure.
ELSEWHERE = [
    (
        "latency at 5 000 requests/s ÷ its echo's: p50 ≤ 1.15, p99 ≤ 1.5",
        "none: h2load sends in bursts, and the timer of `bancheck bench load` has steps of a millisecond, more than "
        "there is to measure; what it says is below",
    ),
    (
        "`decide` in process, 1 000 000 bans: ≤ 300 ns, no allocation",
        "`cargo bench --profile dist --bench decide`; `cargo test --test allocations`",
    ),
    (
        "canonicalise one identity: ≤ 1 µs, over all regions and kinds ≤ 2 µs",
        "`cargo bench --profile dist --bench decide`",
    ),
    ("a check with 100 000 ranges ÷ without: ≤ 1.5", "`cargo bench --profile dist --bench beside`"),
    (
        "one change to a view of 1 000 000 bans: ≤ 1 ms, checks' p99 unchanged",
        "`cargo bench --profile dist --bench views`; `benches/compare growth`",
    ),
    (
        "a ban on one pod until another denies: p50 ≤ 10 ms, p99 ≤ 100 ms, bound 2 s",
        "`tests/run torture --no-capture`, while pods are killed and cut off",
    ),
]


def told(value):
    """A figure with as many places as it is worth."""
    if value >= 100:
        return whole(value)
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def at_least(what, bound, value, unit=""):
    return Row(what, bound, value, unit=unit)


def at_most(what, bound, value, unit=""):
    return Row(what, bound, value, less=True, unit=unit)


def whole(value):
    return f"{value:,.0f}".replace(",", " ")


def over(one, other):
    return None if one is None or other is None else one / other


class Findings:
    """What the results come to."""

    def __init__(self, results, bans, small):
        self.results, self.bans, self.small = results, bans, small

    def rate(self, subject, phase="pinned"):
        return self.of("rate", subject, phase)

    def cpu(self, subject, phase="pinned"):
        return self.of("cpu", subject, phase)

    def of(self, what, subject, phase="pinned"):
        values = self.all(what, subject, phase)
        return median(values) if values else None

    def all(self, what, subject, phase="pinned"):
        if subject != "mixed":
            return self.results.all(phase, subject, what)
        # Requests cost what they cost, so one in twenty denied is a weighted mean of costs.
        share = 1 / ONE_IN
        pairs = list(zip(self.all(what, "miss", phase), self.all(what, "hit", phase)))
        if what == "rate":
            return [1 / ((1 - share) / miss + share / hit) for miss, hit in pairs]
        return [(1 - share) * miss + share * hit for miss, hit in pairs]

    def beside(self, what):
        """The check's figure by its echo's, in the median of the rounds that had only these two."""
        pairs = zip(self.all(what, "mixed", BESIDE), self.all(what, "check echo", BESIDE))
        ratios = [check / echo for check, echo in pairs]
        return median(ratios) if ratios else None

    def rows(self):
        return [*self.throughput(), *self.latency(), *self.size()]

    def throughput(self):
        rate, cpu = self.rate, self.cpu
        check = rate("mixed")
        return [
            at_least("check ÷ its echo, by server CPU a request", 0.85, over(1, self.beside("cpu"))),
            at_least("check ÷ its echo, by requests/s", 0.85, self.beside("rate")),
            at_least(
                "check ÷ empty echo as a newcomer builds it, nothing pinned",
                1.8,
                over(rate("mixed", "open"), rate("empty echo", "open")),
            ),
            at_least("check, 8 × 32 ÷ Redis `GET`, 50 connections", 1.3, over(check, rate("redis"))),
            at_least(
                "check, 50 × 1 ÷ Redis `GET`, 50 connections", 0.65, over(rate("50 x 1"), rate("redis"))
            ),
            at_least("batches, checks/s ÷ Redis `GET -P 16`", 3, over(rate("batch"), rate("redis -P 16"))),
            at_least("check ÷ Postgres, prepared look-up, 16 connections", 5, over(check, rate("postgres"))),
            at_least("check ÷ Cerbos `CheckResources` over gRPC", 35, over(check, rate("cerbos"))),
            at_least("check ÷ CrowdSec, live mode, 100 000 decisions", 2_000, over(check, rate("crowdsec"))),
            at_least("check ÷ rbldnsd over UDP, 1 000 000 entries", 0.9, over(check, rate("rbldnsd"))),
            at_least("batches, checks/s on one core", 1_000_000, rate("batch")),
            at_least("batches, checks/s ÷ one check a call", 10, over(rate("batch"), check)),
            at_most(
                f"check at {whole(self.bans)} bans ÷ at {whole(self.small)}, by server CPU",
                1.3,
                over(cpu("miss"), cpu("small")),
            ),
        ]

    def latency(self):
        for percentile, bound in ("p50", 1.15), ("p99", 1.5):
            value = over(self.of(percentile, "1 x 1"), self.of(percentile, "check echo 1 x 1"))
            yield at_most(f"latency 1 × 1 ÷ its echo's, {percentile}", bound, value)

    def size(self):
        bans = f"{whole(self.bans)} bans"
        at_rest = over(self.start("empty", "resident"), 1e6)
        return [
            at_most("resident memory a ban, right after a load", 80, self.bytes_a_ban(), " B"),
            at_most(f"cold load of {bans} from SQLite", 3, self.loading("large"), " s"),
            at_most(f"cold load of {bans} from Postgres", 5, self.loading("large on Postgres"), " s"),
            *(
                at_least(
                    f"import into {store} of {whole(self.bans)} bans, checks running",
                    bound,
                    self.rate(store, "import"),
                    " rows/s",
                )
                for store, bound in (("SQLite", 20_000), ("Postgres", 15_000))
            ),
            at_most("start to SERVING, empty SQLite", 150, self.start("empty"), " ms"),
            at_most("resident at rest, empty", 30, at_rest, " MB"),
        ]

    def start(self, name, what="ms"):
        return self.results.median("start", name, what)

    def loading(self, name):
        """Seconds more than a start without bans takes."""
        whole_start = self.start(name)
        return whole_start and (whole_start - self.start("empty")) / 1e3

    def bytes_a_ban(self):
        return (self.start("large", "resident") - self.start("empty", "resident")) / self.bans
