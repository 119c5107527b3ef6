"""The command line of benches/compare."""

import argparse
import datetime
import os
import platform
import shlex
import sys
from pathlib import Path

from . import credentials, curves, lasting, meanwhile, overload, page, profile
from .beside import Comparison
from .growth import Growth
from .product import Binaries
from .rounds import Results
from .stage import ROOT, TARGET, Failed, Stage, output, say
from .table import Findings
from .tools import Missing

# What is measured apart from the targets, and who writes its page.
APART = {
    "growth": (Growth, curves),
    "credentials": (credentials.Credentials, credentials),
    "meanwhile": (meanwhile.Meanwhile, meanwhile),
    "overload": (overload.Overload, overload),
    "lasting": (lasting.Lasting, lasting),
    "profile": (profile.Profile, profile),
}


def folder(text):
    return Path(text).resolve()


def parse(arguments, about):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["beside", *APART],
        default="beside",
        help="the targets, the curves, what credentials cost, what checks feel of all else or of a flood, what an hour leaves, or where a check's time goes",
    )
    parser.add_argument(
        "--bans", type=int, default=1_000_000, help="bans of the tenant, keys of Redis, rows of Postgres"
    )
    parser.add_argument("--small", type=int, default=1_000, help="bans of the small tenant")
    parser.add_argument("--rounds", type=int, default=5, help="shuffled rounds, after one that warms up")
    parser.add_argument(
        "--requests", type=int, default=200_000, help="requests of a throughput run; the others follow"
    )
    parser.add_argument("--seconds", type=int, default=4, help="seconds of each run for the curves")
    parser.add_argument("--minutes", type=int, default=60, help="minutes of mixed load")
    parser.add_argument("--starts", type=int, default=5, help="how often each start is timed")
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="PEER", help="leave out redis, postgres, …"
    )
    parser.add_argument(
        "--binaries",
        metavar="FOLDER",
        help="take bancheck, check_echo and empty_echo from there, build nothing",
    )
    parser.add_argument("--built", metavar="WORDS", help="how those were built, for the page")
    parser.add_argument(
        "--seeded", type=folder, metavar="FOLDER", help="keep the filled databases there for the next run"
    )
    parser.add_argument(
        "--into", type=folder, default=ROOT / "docs", metavar="FOLDER", help="where the page and the plots go"
    )
    return parser.parse_args(arguments)


def command(told):
    """What to run for the same measurements; where this machine keeps its files is nobody else's business."""
    words = ["benches/compare", *([told.what] if told.what != "beside" else [])]
    for name in "bans", "small", "rounds", "requests", "seconds", "starts", "minutes":
        words += [f"--{name}", str(getattr(told, name))]
    return shlex.join(words + (["--without", *told.without] if told.without else []))


def facts(told, binaries, versions):
    """What a reader has to know to judge the figures."""
    models = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    names = {
        "redis": "Redis",
        "postgres": "Postgres",
        "cerbos": "Cerbos",
        "crowdsec": "CrowdSec",
        "rbldnsd": "rbldnsd",
    }
    said = [binaries.bancheck.output("--version").strip()]
    try:
        said.append(" ".join(output(["rustc", "--version"], cwd=ROOT).split()[:2]))
    except (OSError, Failed):
        pass
    said += [f"{names[name]} {version}" for name, version in versions.items()]
    return {
        "machine": f"{next(models, platform.machine())}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": ", ".join(said),
        "built": binaries.words,
        "command": f"`{command(told)}`",
    }


def main(about):
    told = parse(sys.argv[1:], about)
    results = Results(TARGET / "compare" / f"{told.what}.jsonl")
    try:
        with Stage() as stage:
            binaries = Binaries(told.binaries, told.built)
            if told.what in APART:
                measure, pages = APART[told.what]
                measure(stage, binaries, told, results).run()
                pages.write(results, facts(told, binaries, {}), told.into)
            else:
                comparison = Comparison(stage, binaries, told, results)
                comparison.run()
                findings = Findings(results, told.bans, told.small)
                page.write(
                    findings, facts(told, binaries, comparison.versions), comparison.missing, told.into
                )
    except (Failed, Missing) as error:
        say(error)
        return 1
    say(f"every figure is in {results.path}")
    return 0
