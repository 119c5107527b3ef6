"""docs/performance/growth.md and its plots."""

from .growth import RATE
from .page import draw, keep, spread, table
from .table import told, whole

AXES = {
    "bans": ("Bans of a tenant", "bans"),
    "tenants": ("Tenants that share the bans", "tenants"),
    "changes": ("Bans made a second meanwhile", "bans made a second"),
}
# Why each has the shape it has.
SHAPES = {
    "bans": "Flat: nineteen checks of twenty end at a filter of a few bits a key, the others at one leaf of a tree whose "
    "depth is the same from a thousand bans on; what grows is how often either has left the processor's cache. Memory "
    "grows with the bans, as it is right after the load.",
    "tenants": "Flat: a check looks its tenant up in a hash table and goes on in that tenant's own view. Memory grows by "
    "what an empty view needs, some 4 kB a tenant.",
    "changes": "A change is judged, written and taken into a view on the core that checks are on here, and a thousand a "
    "second are a quarter more work on it; with a core to spare that would be elsewhere.",
}


def write(results, facts, into):
    folder = into / "performance"
    # The plots lie beside this page.
    shown = [line.replace("(performance/", "(") for line in draw(plots(results), folder)]
    page = [
        "# How it grows",
        "",
        "Made by `benches/compare growth`; do not edit. Questions are drawn at random, one in twenty of them about a",
        "banned number, and asked by `bancheck bench load`, which takes more of its core than the server of its own:",
        "where it is what is slow, the server's CPU a check tells more than checks/s. Server on one core, load on the",
        f"other; latencies at {told(RATE)} checks/s, each counted from when it was due: up to a millisecond of that is",
        "the load's own timer. The second and third are of a tenth of `--bans`; bans are made by ten imports a second.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
    ]
    for along, (title, _) in AXES.items():
        page += [f"## {title}", "", *rows(results, along), "", SHAPES[along], "", *shown[:1], ""]
        shown = shown[1:]
    keep(into, "growth", page)


def points(results, along):
    return sorted(results.subjects(along), key=int)


def rows(results, along):
    body = []
    for at in points(results, along):
        cells = [whole(int(at))]
        for what in "rate", "cpu", "p50", "p99":
            cells.append(spread(results.all(along, at, what), results.median(along, at, what)))
        cells.append(f"{resident(results, along, at):.0f}")
        if along == "changes":
            cells.append(whole(int(results.median(along, at, "changes"))))
        body.append(cells)
    header = [AXES[along][1], "checks/s", "server CPU a check, µs", "p50, µs", "p99, µs", "resident, MB"]
    return table(header + (["really made a second"] if along == "changes" else []), body)


def resident(results, along, at):
    return results.median(along, at, "resident") / 1e6


def plots(results):
    def panels(along, title):
        curve = lambda of: [[int(at), of(at)] for at in points(results, along)]
        middle = lambda what: curve(lambda at: results.median(along, at, what))
        return [
            {"along": title, "unit": "checks/s on one core", "curves": {"": middle("rate")}},
            {
                "along": title,
                "unit": f"latency at {told(RATE)}/s, µs",
                "curves": {"p50": middle("p50"), "p99": middle("p99")},
            },
            {
                "along": title,
                "unit": "resident, MB",
                "curves": {"": curve(lambda at: resident(results, along, at))},
            },
        ]

    return {
        f"growth-{along}": {"title": title, "panels": panels(along, axis)}
        for along, (title, axis) in AXES.items()
    }
