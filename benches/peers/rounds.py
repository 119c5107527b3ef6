"""Rounds in which everybody is asked in turn, in an order that is shuffled anew each time."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from .stage import Server, say

# How much of the usual a round asks that only warms up.
WARM_UP = 0.2
# Rounds that have only the check and its echo: so many times as short as others, and as many.
BESIDE, SHORT = "beside its echo", 5


@dataclass
class Subject:
    """Who is asked, and how; told which part of the usual amount, `ask` tells how it went."""

    name: str
    server: Server
    ask: Callable[[float], dict]


class Results:
    """All that was measured, kept as it comes, a line of JSON each."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.lines = path, []
        self.file = open(path, "w")

    def add(self, phase, subject, **figures):
        line = {"phase": phase, "subject": subject, **figures}
        self.lines.append(line)
        print(json.dumps(line), file=self.file, flush=True)

    def all(self, phase, subject, what):
        return [
            line[what]
            for line in self.lines
            if line["phase"] == phase and line["subject"] == subject and what in line
        ]

    def median(self, phase, subject, what):
        """None where it was not measured."""
        values = self.all(phase, subject, what)
        return median(values) if values else None

    def subjects(self, phase):
        return {line["subject"] for line in self.lines if line["phase"] == phase}


def play(results, phase, subjects, rounds):
    for number in range(rounds + 1):
        for subject in random.sample(subjects, len(subjects)):
            before = subject.server.cpu()
            figures = subject.ask(1 if number else WARM_UP)
            spent = subject.server.cpu() - before
            # Round nought is not kept.
            if number:
                cpu = spent / figures["count"] * 1e6
                results.add(phase, subject.name, round=number, cpu=cpu, **figures)
        say(f"{phase}: round {number} of {rounds}")
