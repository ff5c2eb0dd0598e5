"""An environment of its own for each system, made once by pip and kept in the user's cache folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.base import System
from django_cluster import __version__

ROOT = Path(__file__).resolve().parents[1]

COMMON = ("django", "psycopg[binary]")
"""What every Django project has."""

VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "django_cluster" / "benchmarks"


class Venv:
    """The environment of one system (and of its other set-ups)."""

    def __init__(self, name: str, requirements: Sequence[str], distribution: str) -> None:
        self.folder = cache_folder() / name
        self.distribution = distribution
        self._requirements = sorted({*COMMON, *requirements})

    @classmethod
    def of(cls, system: System) -> Venv:
        return cls(system.home, system.requirements, system.distribution)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def command(self, parts: Sequence[str]) -> list[str]:
        """A command line whose program is one of this environment's."""
        return [str(self.folder / "bin" / parts[0]), *parts[1:]]

    def ensure(self) -> None:
        """Make it, unless it is there already with the same requirements."""
        note = self.folder / "requirements.json"
        if note.exists() and json.loads(note.read_text()) == self._requirements:
            return
        subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=True)  # noqa: S603
        install = [str(self.python), "-m", "pip", "install", "--quiet", *self._requirements]
        subprocess.run(install, check=True)  # noqa: S603
        note.write_text(json.dumps(self._requirements))

    def version(self) -> str:
        """Of the system itself; our own package is used from this checkout, and not installed."""
        if self.distribution == "django-cluster":
            return __version__
        command = [str(self.python), "-c", VERSION, self.distribution]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
