"""Draws what it is told on standard input; run by the Python that has matplotlib.

plots.py FOLDER
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
# The same picture gives the same file.
matplotlib.rcParams["svg.hashsalt"] = "bancheck"
# Text stays text, so that it can be searched, and the file is small.
matplotlib.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot

COLOURS = ["#1b6ca8", "#e07a3f", "#5a9e6f", "#8a6bb1"]


def bars(axes, plot):
    """Names from top to bottom, a bar beside each for every series."""
    series = plot["bars"]
    names = [name for name, _ in next(iter(series.values()))]
    thick = 0.8 / len(series)
    for at, (title, values) in enumerate(series.items()):
        places = [row + (at - (len(series) - 1) / 2) * thick for row in range(len(names))]
        drawn = axes.barh(places, [value for _, value in values], thick, color=COLOURS[at], label=title)
        axes.bar_label(drawn, fmt=lambda value: f"{value:,.0f}", padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(
        plot["unit"] + (" (each step of the axis ten times the one before)" if plot["log"] else "")
    )
    axes.margins(x=0.15)
    if plot["log"]:
        axes.set_xscale("log")
    if len(series) > 1:
        axes.legend()


def curves(axes, plot):
    for at, (title, points) in enumerate(plot["curves"].items()):
        axes.plot(*zip(*points), marker="o", color=COLOURS[at], label=title)
    # A load without changes has its place on a logarithmic axis, too.
    axes.set_xscale(
        "symlog" if any(x == 0 for points in plot["curves"].values() for x, _ in points) else "log"
    )
    axes.set_ylim(0, 1.1 * max(y for points in plot["curves"].values() for _, y in points))
    axes.set_xlabel(plot["along"])
    axes.set_ylabel(plot["unit"])
    if len(plot["curves"]) > 1:
        axes.legend()


def draw(axes, plot):
    (bars if "bars" in plot else curves)(axes, plot)
    axes.grid(axis="x" if "bars" in plot else "both", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def main():
    folder = Path(sys.argv[1])
    for name, plot in json.load(sys.stdin).items():
        panels = plot.get("panels", [plot])
        tall = 1.5 + 0.36 * len(next(iter(plot["bars"].values()))) if "bars" in plot else 3.5
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(max(8, 4 * len(panels)), tall), layout="constrained", squeeze=False
        )
        for place, panel in zip(axes[0], panels):
            draw(place, panel)
        figure.suptitle(plot["title"])
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=120)
        pyplot.close(figure)


main()
