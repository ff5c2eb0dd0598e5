"""The side that asks: a process in a system's own environment that sends tasks and looks at results on command.

Commands come as lines of JSON on standard input, ``["send", "noop", 500]``, and each is answered by one line:
``{"value": …}`` or ``{"error": "…"}``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from benchmarks.marks import VARIABLE, Marks
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import System

PORTION = 10_000
"""Tasks given to a system's own bulk call at once."""
LATENCY_SECONDS = 10.0
LATENCY_PATIENCE = 5.0
LOOK = 0.0002
PAUSES = 0.005, 0.025
"""Between two lone tasks, at random, so that nobody's rhythm is met."""
PAYLOAD = 100_000


class Agent:
    """The verbs, in terms of a system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._marks = Marks(Path(os.environ[VARIABLE]))

    def install(self) -> None:
        self._system.install()

    def prepare(self) -> None:
        self._system.prepare()

    def send(self, task: str, count: int) -> float:
        """One by one; returns the seconds."""
        arguments = arguments_of(task)
        began = time.perf_counter()
        self._system.send(task, arguments, count)
        return time.perf_counter() - began

    def send_bulk(self, task: str, count: int) -> float:
        """By the system's own bulk call, or one by one where it has none."""
        arguments = arguments_of(task)
        send = self._system.send_bulk if self._system.has_bulk else self._system.send
        began = time.perf_counter()
        for portion in portions(count):
            send(task, arguments, portion)
        return time.perf_counter() - began

    def schedule(self, count: int) -> None:
        self._system.schedule(count)

    def steps(self) -> list[tuple[object, ...]]:
        """Of our own system: what each step of a task's life costs."""
        from benchmarks.steps import measure_steps

        return [tuple(step) for step in measure_steps()]

    def wait_settled(self, count: int, patience: float) -> float:
        """The moment (monotonic) at which all is stored and acknowledged."""
        until = time.monotonic() + patience
        while not self._system.settled(count):
            if time.monotonic() > until:
                raise TimeoutError(f"{count} tasks were not settled within {patience:.0f} seconds")
            time.sleep(0.002)
        return time.monotonic()

    def latencies(self, samples: int) -> list[float]:
        """Seconds from the call to the start of the task, for one task at a time."""
        return [begun - called for called, _, begun in self.lone_tasks(samples)]

    def lone_tasks(self, samples: int) -> list[tuple[float, float, float]]:
        """Of one task at a time, the moments (monotonic) of the call, of its return, and of the start of the task."""
        until = time.monotonic() + LATENCY_SECONDS
        found: list[tuple[float, float, float]] = []
        while len(found) < samples and time.monotonic() < until:
            found.append(self._lone_task())
            time.sleep(random.uniform(*PAUSES))  # noqa: S311  a pause, not a secret
        return found

    def _lone_task(self) -> tuple[float, float, float]:
        before = self._marks.count
        called = time.monotonic()
        self._system.send("noop", (), 1)
        returned = time.monotonic()
        while self._marks.count == before:
            if time.monotonic() > called + LATENCY_PATIENCE:
                raise TimeoutError("a lone task was not run")
            time.sleep(LOOK)
        return called, returned, self._marks.last()


def arguments_of(task: str) -> tuple[Any, ...]:
    if task != "weigh":
        return ()
    # Text as an application would send: neither all the same nor pure noise.
    chance = random.Random(1)  # noqa: S311  the same text in every run
    return ("".join(chance.choices("etaoin shrdlu", k=PAYLOAD)),)


def portions(count: int) -> Iterator[int]:
    """``count`` in portions of at most ``PORTION``."""
    for start in range(0, count, PORTION):
        yield min(PORTION, count - start)


def serve(agent: Agent, commands: TextIO, answers: TextIO) -> None:
    """Obey until the input ends."""
    for line in commands:
        verb, *arguments = json.loads(line)
        try:
            answer = {"value": getattr(agent, verb)(*arguments)}
        except Exception as error:  # noqa: BLE001  the other end decides what a failure means
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    # A library that prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Agent(SYSTEMS[sys.argv[1]]), sys.stdin, answers)


if __name__ == "__main__":
    main()
