"""``qimport check``: what of a project will behave otherwise than with Django-Q, before it moves."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from django.apps import apps

from django_cluster.conf import configured
from django_cluster.django_q.differences import differences, silent_choice
from django_cluster.django_q.importer.code_scan import Finding, scan_file
from django_cluster.django_q.importer.run import run
from django_cluster.errors import ImportSourceUnavailable
from django_cluster.importing.options import ImportOptions

SKIPPED = {"node_modules", "site-packages", "dist-packages", "__pycache__"}


def findings(options: ImportOptions) -> Iterator[Finding]:
    """What differs in settings, code and migrations, and rows. Nothing is changed, and no file is run."""
    yield from in_settings()
    for folder in project_folders():
        yield from in_code(folder)
    yield from in_rows(options)


def in_settings() -> Iterator[Finding]:
    """Keys of ``Q_CLUSTER`` that mean something else."""
    mapping = configured()
    if isinstance(mapping, Mapping):
        for problem in (*silent_choice(mapping), *differences(mapping)):
            yield Finding(f"Q_CLUSTER[{problem.key!r}]", problem.sentence)


def project_folders() -> list[Path]:
    """The folder in which the command was started, and those of the project's apps that are not below it.

    Apps that are installed as packages are left out.
    """
    installed = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    ours = Path(__file__).parents[2].resolve()
    found = [Path.cwd().resolve()]
    for config in apps.get_app_configs():
        folder = Path(config.path).resolve()
        is_package = any(part in SKIPPED for part in folder.parts) or any(folder.is_relative_to(i) for i in installed)
        if not is_package and not folder.is_relative_to(ours) and not any(folder.is_relative_to(f) for f in found):
            found.append(folder)
    return found


def in_code(folder: Path) -> Iterator[Finding]:
    """What differs in the Python files below a folder, migrations included; virtual environments are left out."""
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED and not name.startswith(".") and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if name.endswith(".py"):
                yield from scan_file(here / name, os.path.relpath(here / name))


def in_rows(options: ImportOptions) -> Iterator[Finding]:
    """What an import would leave or change of schedules, results and queued tasks."""
    try:
        for report in run(options):
            for reason, count in report.reasons.items():
                yield Finding(report.title, f"{count} × {reason}")
            yield from (Finding(report.title, note) for note in report.notes)
    except ImportSourceUnavailable as error:
        yield Finding("Queue", str(error))
