"""Classes of a project whose values travel as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum


class Colour(Enum):
    RED = "r"
    GREEN = ("g", 1)


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


@dataclass(frozen=True)
class Line:
    article: int
    colours: tuple[Colour, ...] = ()
    total: int = field(init=False, default=0)

    @dataclass(frozen=True)
    class Part:
        number: int
