"""The file of a run: when, where, with what, and every single measurement."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Visit:
    """One scenario, played once by one system."""

    system: str
    scenario: str
    repetition: int
    numbers: Mapping[str, float]
    loop_ms: tuple[float, float]
    """The fixed loop before and after."""
    load: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """A number and how far its repetitions lie apart."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run."""

    date: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    durability: Mapping[str, tuple[str, str]]
    """By system: what a killed worker's task becomes, and what is kept."""
    visits: list[Visit] = field(default_factory=list)
    floors: list[Mapping[str, Mapping[str, float]]] = field(default_factory=list)
    """Of each repetition: by floor, its numbers."""

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        raw: dict[str, Any] = json.loads(path.read_text())
        visits = [Visit(**{**each, "loop_ms": tuple(each["loop_ms"])}) for each in raw.pop("visits")]
        return cls(**raw, visits=visits)

    def spreads(self) -> dict[str, dict[str, Spread]]:
        """By system and metric, in the order of the systems."""
        found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in self.durability}
        for visit in self.visits:
            for key, value in visit.numbers.items():
                found[visit.system][key].append(value)
        return {name: {key: spread(values) for key, values in by.items()} for name, by in found.items() if by}

    def floor_spreads(self) -> dict[str, dict[str, Spread]]:
        found: dict[str, dict[str, list[float]]] = {}
        for repetition in self.floors:
            for name, numbers in repetition.items():
                for key, value in numbers.items():
                    found.setdefault(name, {}).setdefault(key, []).append(value)
        return {name: {key: spread(values) for key, values in by.items()} for name, by in found.items()}

    def failures(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.error]

    def quietest_loop(self) -> float:
        """The fixed loop when nobody else was there, as far as that was seen."""
        return min((value for visit in self.visits for value in visit.loop_ms), default=0.0)

    def disturbance(self, system: str) -> float:
        """How much slower the fixed loop was around the visits of a system than at its best; 0.1 = a tenth."""
        best = self.quietest_loop()
        loops = [value for visit in self.visits if visit.system == system for value in visit.loop_ms]
        return statistics.median(loops) / best - 1 if loops and best else 0.0


def spread(values: Iterable[float]) -> Spread:
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))
