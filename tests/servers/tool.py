"""A program that tests need, and that a machine may lack."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar


class Tool:
    """Says what is missing; what it does, its subclasses know."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    """What has to be installed."""
    drivers: ClassVar[tuple[str, ...]]
    """Python modules that have to be importable."""
    package: ClassVar[str]
    """The Debian package that brings the programs."""
    extra_paths: ClassVar[tuple[str, ...]] = ()
    """Patterns of folders outside of ``PATH`` in which the programs may be, the best last."""

    @classmethod
    def missing(cls) -> list[str]:
        """What this machine lacks to run it and to talk to it."""
        programs = [f"the program {name}" for name in cls.programs if cls.find(name) is None]
        return programs + [f"the Python module {name}" for name in cls.drivers if find_spec(name) is None]

    @classmethod
    def find(cls, program: str) -> str | None:
        """The path of a program, on ``PATH`` or in a place that the server's package uses."""
        folders = [str(folder) for pattern in cls.extra_paths for folder in sorted(Path("/").glob(pattern))]
        return shutil.which(program) or shutil.which(program, path=os.pathsep.join(reversed(folders)))
