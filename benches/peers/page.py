"""docs/performance.md, the figures of README.md, and the plots: written anew by each whole run."""

import json
import subprocess
from pathlib import Path

from .reasons import reason
from .stage import ROOT, Failed, say
from .table import ELSEWHERE, told
from .tools import Missing, python_that_draws

BEGINS, ENDS = "<!-- benches/compare writes what follows -->", "<!-- up to here -->"
# Subjects of the rounds, by the names that the page gives them.
NAMES = {
    "mixed": "check, 5 % denied",
    "miss": "check, allowed",
    "hit": "check, denied",
    "small": "check, allowed, the small tenant",
    "50 x 1": "check, allowed, 50 × 1",
    "batch": "checks in batches of 1 000",
    "stream": "checks on streams",
    "check echo": "echo of the check's messages",
    "empty echo": "empty echo",
    "redis": "Redis `GET`, 50 connections",
    "redis -P 16": "Redis `GET -P 16`, 50 connections",
    "postgres": "Postgres, 16 connections",
    "cerbos": "Cerbos",
    "crowdsec": "CrowdSec",
    "rbldnsd": "rbldnsd, UDP",
}
LATENCIES = {
    "1 x 1": "check, 1 × 1",
    "check echo 1 x 1": "its echo, 1 × 1",
    "redis 1": "Redis `GET`, 1 connection",
    "postgres 1": "Postgres, 1 connection",
    "rate": "check at 5 000/s, the load's timer included",
    "check echo rate": "its echo at 5 000/s, the same",
}
# The rows that README shows.
SHORT = (
    "check ÷",
    "check, 8 × 32 ÷ Redis",
    "latency 1 × 1",
    "batches, checks/s on one core",
    "check at",
    "resident memory a ban",
    "cold load",
    "start to SERVING",
)


def write(findings, facts, missing, into):
    """The page, its plots, and what README shows of it where the page is the repository's own."""
    # Those that are missed come first.
    rows = sorted(findings.rows(), key=lambda row: not row.is_missed())
    drawn = draw(plots(findings), into / "performance")
    page = [
        "# Performance",
        "",
        "Made by `benches/compare`; do not edit. Ratios taken side by side in one run count: the figures beneath",
        "them are as noisy as the machine.",
        *others(into),
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        *(f"- not counted: {reason}" for reason in missing),
        "",
        "## Targets",
        "",
        "A check is `CheckInteraction` about one telephone number at 8 connections × 32 streams, 5 % denied, under an API",
        "key; its echo takes the same request apart and answers an ALLOW; a batch has 1 000 checks.",
        "Check ÷ its echo is the median ratio of short rounds that have only the two.",
        "",
        *table(
            ["what", "target", "measured", "met"],
            [[row.what, row.target(), row.measured(), row.met()] for row in rows],
        ),
        "",
        "What is known of those that are missed:",
        "",
        *(f"- *{row.what}*: {words}" for row in rows if row.is_missed() and (words := reason(row.what))),
        "",
        "Measured by other commands:",
        "",
        *table(["target", "command"], ELSEWHERE),
        "",
        *figures(findings),
        *drawn,
    ]
    into.mkdir(parents=True, exist_ok=True)
    (into / "performance.md").write_text("\n".join(page).rstrip() + "\n")
    say(f"wrote {into / 'performance.md'}")
    if into == ROOT / "docs":
        into_readme(findings.rows(), facts, drawn)


def others(into):
    for name, words in (
        ("growth", "How large tenants, many tenants and many changes tell"),
        ("credentials", "What each kind of credential costs"),
        ("meanwhile", "What checks feel of all else"),
        ("overload", "What a flood costs others"),
        ("lasting", "What mixed load leaves in the long run"),
        ("profile", "Where the time of a check goes"),
    ):
        if (into / "performance" / f"{name}.md").exists():
            yield f"{words} is in [{name}.md](performance/{name}.md)."


def keep(into, name, page):
    """A page beside the one of the targets."""
    folder = into / "performance"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text("\n".join(page).rstrip() + "\n")
    say(f"wrote {folder / name}.md")


def table(header, rows):
    words = "what", "command", "target", "met", "meanwhile", "who floods"
    numeric = lambda word: "--:" if word not in words else "--"
    yield f"| {' | '.join(header)} |"
    yield f"|{'|'.join(map(numeric, header))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def spread(values, middle):
    return f"{told(middle)} ({told(min(values))} – {told(max(values))})"


def figures(findings):
    for phase, title in ("pinned", "Server on one core, load on the other"), ("open", "Nothing pinned"):
        yield f"## {title}"
        yield ""
        rows = []
        for subject, name in NAMES.items():
            rates, costs = findings.all("rate", subject, phase), findings.all("cpu", subject, phase)
            if rates:
                rows.append(
                    [
                        name,
                        spread(rates, findings.rate(subject, phase)),
                        spread(costs, findings.cpu(subject, phase)),
                    ]
                )
        yield from table(["what", "answers/s", "server CPU an answer, µs"], rows)
        yield ""
    yield "## Latency"
    yield ""
    rows = [
        [name, told(findings.of("p50", subject)), told(findings.of("p99", subject))]
        for subject, name in LATENCIES.items()
        if findings.of("p50", subject)
    ]
    yield from table(["what", "p50, µs", "p99, µs"], rows)
    yield ""


def plots(findings):
    """What to draw: the name of the file, and what is in it."""
    bars = lambda names, of: [
        [name.replace("`", ""), of(subject)] for subject, name in names.items() if of(subject)
    ]
    shown = {subject: name for subject, name in NAMES.items() if subject not in ("miss", "hit", "small")}
    memory = [["bancheck, resident", findings.bytes_a_ban()]]
    for peer, name in ("redis", "Redis, resident, a bare key"), ("postgres", "Postgres, on disk"):
        if held := findings.results.median("once", peer, "bytes"):
            memory.append([name, held])
    alone = {subject: name for subject, name in LATENCIES.items() if "rate" not in subject}
    percentile = lambda what: bars(alone, lambda subject: findings.of(what, subject))
    return {
        "throughput": {
            "title": "Answers a second from one core",
            "unit": "answers/s",
            "log": True,
            "bars": {"": bars(shown, findings.rate)},
        },
        "latency": {
            "title": "Latency as a caller sees it, one request at a time",
            "unit": "µs",
            "log": True,
            "bars": {"p50": percentile("p50"), "p99": percentile("p99")},
        },
        "memory": {"title": "Memory a ban", "unit": "bytes", "log": False, "bars": {"": memory}},
    }


def draw(plots, folder):
    """Draws, and tells what a page has to say to show it."""
    try:
        python = python_that_draws()
    except Missing as reason:
        say(f"no plots: {reason}")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(plots)
    subprocess.run([python, Path(__file__).with_name("plots.py"), folder], input=told, text=True, check=True)
    return [f"![{plot['title']}]({folder.name}/{name}.svg)" for name, plot in plots.items()]


def into_readme(rows, facts, drawn):
    readme = ROOT / "README.md"
    before, begins, rest = readme.read_text().partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not (begins and ends):
        raise Failed(f"{readme} does not say where its figures go: {BEGINS} … {ENDS}")
    short = [[row.what, row.target(), row.measured()] for row in rows if row.what.startswith(SHORT)]
    shown = [
        BEGINS,
        *table(["what", "target", "measured"], short),
        "",
        f"{facts['machine']}; {facts['date']}.",
        "",
    ]
    if drawn:
        shown += [drawn[0].replace("(performance/", "(docs/performance/"), ""]
    readme.write_text(before + "\n".join([*shown, ENDS]) + after)
    say("wrote the figures of README.md")
