"""Brokers as projects have written them for Django-Q, with its base class; files are what they share."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from django_cluster.django_q.shim.brokers import Broker

FOLDER = "FOREIGN_BROKER"
"""The environment variable that names the folder of the messages."""


class ListBroker(Broker):
    """At most once: a message is gone when it was delivered."""

    queues: ClassVar[dict[str, list[str]]] = {}

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        return ListBroker.queues.setdefault(str(list_key), [])

    def enqueue(self, task: str) -> int:
        self.connection.append(task)
        return len(self.connection)

    def dequeue(self) -> Any:
        return [(None, self.connection.pop(0))] if self.connection else None

    def queue_size(self) -> int:
        return len(self.connection)

    def purge_queue(self) -> None:
        self.connection.clear()

    def ping(self) -> bool:
        return True

    def info(self) -> str:
        return "a list"


class FolderBroker(Broker):
    """At least once: a message is a file, which hides for some seconds when it was delivered."""

    HIDDEN_SECONDS = 60

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self.folder = Path(os.environ[FOLDER]) / str(self.list_key)
        self.folder.mkdir(exist_ok=True)

    def enqueue(self, task: str) -> str:
        name = f"{time.time():.6f}-{uuid4().hex}"
        part = self.folder / f".{name}"
        part.write_text(json.dumps([0, task]))
        part.rename(self.folder / name)
        return name

    def dequeue(self) -> Any:
        for file in sorted(self.folder.glob("[0-9]*")):
            hidden_until, task = json.loads(file.read_text())
            if hidden_until < time.time():
                file.write_text(json.dumps([time.time() + self.HIDDEN_SECONDS, task]))
                return [(file.name, task)]
        return None

    def queue_size(self) -> int:
        return sum(json.loads(file.read_text())[0] < time.time() for file in self.folder.glob("[0-9]*"))

    def lock_size(self) -> int:
        return sum(json.loads(file.read_text())[0] >= time.time() for file in self.folder.glob("[0-9]*"))

    def acknowledge(self, task_id: str) -> None:
        (self.folder / task_id).unlink(missing_ok=True)

    fail = delete = acknowledge

    def purge_queue(self) -> None:
        for file in self.folder.glob("[0-9]*"):
            file.unlink()

    def ping(self) -> bool:
        return True

    def info(self) -> str:
        return f"the folder {self.folder}"


class BrokenBroker(ListBroker):
    """A server that is away."""

    def enqueue(self, task: str) -> int:
        raise OSError("no route to host")

    def dequeue(self) -> Any:
        raise OSError("no route to host")
