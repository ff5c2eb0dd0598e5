"""RQ: two workers, that fork for each job (as by default) or run it themselves."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import LOST, Durability, System, redis_url

CLASSES = {"worker": "rq.worker.Worker", "simpleworker": "rq.worker.SimpleWorker"}
PACES = {"worker": 100, "simpleworker": 700}


class Rq(System):
    home = "rq"
    requirements: ClassVar = ["rq", "hiredis"]
    distribution = "rq"
    durability = Durability(LOST, "key in Redis, for 500 s")
    has_bulk = True

    def __init__(self, kind: str) -> None:
        self.name = f"rq/{kind}"
        self.kind = kind
        self.pace = PACES[kind]

    def commands(self) -> list[list[str]]:
        # The configuration is read by the pool before it forks: Django is loaded once, and not for each job.
        options = [
            "--config=benchmarks.apps.rq",
            "--num-workers=2",
            f"--worker-class={CLASSES[self.kind]}",
            "--logging-level=WARNING",
        ]
        return [["rq", "worker-pool", *options, "--url=${BENCH_REDIS}/0", "bench"]]

    def _queue(self) -> Any:
        from redis import Redis
        from rq import Queue  # type: ignore[import-not-found, unused-ignore]

        return Queue("bench", connection=Redis.from_url(redis_url()))

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        queue, path = self._queue(), f"benchmarks.apps.rq.{task}"
        for _ in range(count):
            queue.enqueue(path, *arguments)

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        queue, path = self._queue(), f"benchmarks.apps.rq.{task}"
        for start in range(0, count, 1000):
            size = min(1000, count - start)
            queue.enqueue_many([queue.prepare_data(path, arguments) for _ in range(size)])

    def settled(self, count: int) -> bool:
        queue = self._queue()
        registries = queue.started_job_registry.count
        return bool(queue.count + registries == 0 and queue.finished_job_registry.count >= count)
