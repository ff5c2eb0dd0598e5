"""``manage.py census``: enqueue every file, watch the cluster work, show what it found."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from example.census import reconciliation
from example.census.models import Census
from example.census.progress import Progress
from example.census.report import render
from example.census.runner import StopSign, check, cluster_beside

PAUSE = 0.2
"""Seconds between two looks at the rows."""


class Command(BaseCommand):
    """Interrupt it whenever you like, and start it again: it goes on where it was."""

    help = "Takes a census of a folder of Python files, one task for each file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        library = Path(sysconfig.get_path("stdlib"))
        parser.add_argument("--folder", type=Path, default=library, help="What to count; by default Python's library.")
        parser.add_argument("--limit", type=int, metavar="N", help="Only the first N files.")
        parser.add_argument("--workers", type=int, metavar="N", help="Worker processes; by default one for each CPU.")

    def handle(self, *args: Any, folder: Path, limit: int | None, workers: int | None, **options: Any) -> None:
        log = Path(settings.DATABASES["default"]["NAME"]).with_suffix(".log")
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder.")
        with StopSign() as stop:
            census = reconciliation.open_census(folder.resolve(), limit)
            self.stdout.write(f"{census}. The cluster writes to {log}.")
            with cluster_beside(log, workers, stop) as cluster:
                pace = self.conduct(census, cluster, log, stop)
                if stop:
                    self.stdout.write("Stopping: what has begun may finish. Ctrl-C again: at once.")
            if stop:
                self.stdout.write(
                    f"{reconciliation.count_ended(census):,} files are counted. Run it again, and it goes on."
                )
                sys.exit(128 + stop.seen[0])
            self.conclude(census, pace)

    def conduct(self, census: Census, cluster: subprocess.Popen[bytes], log: Path, stop: StopSign) -> str:
        """Enqueue what is not yet enqueued and wait for the rest; returns how fast it went."""
        progress = Progress(sys.stdout, reconciliation.count_files(census), reconciliation.count_ended(census))
        for _ in steps(census):
            progress.show(reconciliation.count_ended(census))
            check(cluster, log)
            if stop:
                break
        progress.show(reconciliation.count_ended(census))
        return progress.end()

    def conclude(self, census: Census, pace: str) -> None:
        """Show everything; only a census whose reconciliation balance is finished."""
        counted, failed, balance = reconciliation.balance(census)
        self.stdout.write(f"\n{render(counted, failed)}\n\n{pace}\n{balance}")
        if not balance.balanced:
            raise CommandError("Something was lost.")
        reconciliation.finish(census)


def steps(census: Census) -> Iterator[None]:
    """Until every file is enqueued, and then until the queue is empty."""
    while reconciliation.enqueue_batch(census):
        yield
    while not reconciliation.is_settled():
        time.sleep(PAUSE)
        yield
