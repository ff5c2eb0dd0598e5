"""Finds changed source files, by the reloader of Django's ``runserver`` and with its signals."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.utils import autoreload

LOOK_SECONDS = 0.5
"""Seconds between two looks at the files, where Django's reloader compares their times of change."""
RESCAN_SECONDS = 5.0
"""Seconds between two searches for new directories."""
MAX_DIRECTORIES = 5000
"""Directories that are watched at most."""
LIBRARY_DIRECTORIES = frozenset({"site-packages", "dist-packages"})
SKIPPED_DIRECTORIES = frozenset({"__pycache__", "node_modules", *LIBRARY_DIRECTORIES})


class SourceWatcher:
    """Watches every imported module, what ``autoreload_started`` adds, and all Python files below ``roots``.

    Workers import modules that this process has not imported: hence the directories.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = list(roots)
        self._reloader = autoreload.get_reloader()
        setattr(self._reloader, "SLEEP_TIME", LOOK_SECONDS)  # noqa: B010  not every reloader has it
        self._rescan_at = 0.0
        self._changed: list[Path] = []
        autoreload.file_changed.connect(self._note)
        autoreload.autoreload_started.send(sender=self._reloader)
        self._known = self.files()
        self._ticker: Iterator[None] = self._reloader.tick()

    def close(self) -> None:
        """Stop listening to changes."""
        autoreload.file_changed.disconnect(self._note)
        self._reloader.stop()

    def look(self) -> list[Path]:
        """Wait for a moment; return the files that have changed since the last call."""
        self._scan()
        next(self._ticker)
        changed, self._changed = self._changed, []
        return changed

    def new_files(self) -> list[Path]:
        """The Python files below the roots that were not there when this was called last."""
        found = self.files()
        new, self._known = found - self._known, found
        return sorted(new)

    def files(self) -> set[Path]:
        """The Python files below the roots."""
        return {path for directory in project_directories(self._roots) for path in directory.glob("*.py")}

    def _scan(self) -> None:
        if (now := time.monotonic()) >= self._rescan_at:
            self._rescan_at = now + RESCAN_SECONDS
            for directory in project_directories(self._roots):
                self._reloader.watch_dir(directory, "*.py")

    def _note(self, file_path: Path, **_: Any) -> bool:
        """A receiver of ``file_changed``: True keeps Django from ending this process."""
        self._changed.append(Path(file_path))
        return True


def project_roots() -> list[Path]:
    """The directory of ``manage.py``, and the packages of the installed apps outside of it that are no libraries."""
    home = Path(sys.path[0] or os.getcwd()).absolute()
    found = [] if home in (Path("/"), Path.home()) else [home]
    for config in apps.get_app_configs():
        path = Path(config.path).absolute()
        if not LIBRARY_DIRECTORIES.intersection(path.parts) and not any(path.is_relative_to(root) for root in found):
            found.append(path)
    return found


def project_directories(roots: Iterable[Path]) -> list[Path]:
    """The directories below the roots, without hidden ones, virtual environments and installed libraries."""
    found: list[Path] = []
    for root in roots:
        for folder, names, files in os.walk(root):
            if "pyvenv.cfg" in files or len(found) >= MAX_DIRECTORIES:
                names.clear()
                continue
            names[:] = [name for name in names if name not in SKIPPED_DIRECTORIES and not name.startswith(".")]
            found.append(Path(folder))
    return found
