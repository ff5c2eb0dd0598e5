"""Enqueue every file exactly once, and check that each ends as exactly one row, after any number of interruptions.

The queue is a table of our own database. So the messages of a batch and the note that they were sent are one
transaction: either both are there, or neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from django_cluster import async_bulk
from django_cluster.models import QueuedTask, Task
from example.census.models import Census, SourceFile
from example.census.report import Counted, Failed, Reconciliation
from example.census.tasks import measure

BATCH = 250
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of packages that are not part of the library."""


@transaction.atomic
def open_census(folder: Path, limit: int | None) -> Census:
    """The census of this folder that was interrupted, or else a new one with all its files."""
    census = Census.objects.filter(folder=str(folder), limit=limit, finished_at=None).last()
    if census is None:
        census = Census.objects.create(folder=str(folder), limit=limit)
        paths = islice(source_files(folder), limit)
        SourceFile.objects.bulk_create([SourceFile(census=census, path=path) for path in paths], batch_size=BATCH)
    return census


def source_files(folder: Path) -> Iterator[str]:
    """The Python files below a folder, in the same order each time."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - INSTALLED)
        yield from (Path(root, name).relative_to(folder).as_posix() for name in sorted(names) if name.endswith(".py"))


@transaction.atomic
def enqueue_batch(census: Census) -> int:
    """Send the next files to the cluster; returns how many there were."""
    files = list(SourceFile.objects.filter(census=census, task_id="").order_by("pk")[:BATCH])
    calls = [(census.folder, file.path) for file in files]
    # A file that cannot be read today cannot be read tomorrow: one attempt is enough.
    task_ids = async_bulk(measure, calls, q_options={"group": census.group, "max_attempts": 1})
    for file, task_id in zip(files, task_ids, strict=True):
        file.task_id = task_id
    SourceFile.objects.bulk_update(files, ["task_id"])
    return len(files)


def is_settled() -> bool:
    """Whether the queue is empty: a message leaves it when its row has been written, and not before."""
    return not QueuedTask.objects.exists()


def count_files(census: Census) -> int:
    return SourceFile.objects.filter(census=census).count()


def count_ended(census: Census) -> int:
    """How many of its files have succeeded or failed so far."""
    return Task.objects.filter(group=census.group, final=True).count()


def balance(census: Census) -> tuple[list[Counted], list[Failed], Reconciliation]:
    """What became of each file, and whether the reconciliation agree. Reads the rows and believes nothing else."""
    tasks = {task.pk: task for task in Task.objects.filter(group=census.group)}
    counted, failed = [], []
    files = list(SourceFile.objects.filter(census=census).order_by("path"))
    for file in files:
        task = tasks.pop(file.task_id, None)
        if task is not None and task.success:
            counted.append(Counted(file.path, task.result))
        elif task is not None:
            failed.append(Failed(file.path, task.error_kind, task.error_message))
    enqueued = sum(bool(file.task_id) for file in files)
    unexpected = len(files) - len(counted) - len(failed) + len(tasks)
    return counted, failed, Reconciliation(len(files), enqueued, len(counted), len(failed), unexpected)


def finish(census: Census) -> None:
    """The next census will be a new one."""
    census.finished_at = timezone.now()
    census.save(update_fields=["finished_at"])
