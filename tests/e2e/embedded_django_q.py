"""A program on Django-Q's names that has a cluster inside: what it does with it stands on the command line."""

from __future__ import annotations

import atexit
import logging
import logging.config
import multiprocessing
import sys

import django

from django_cluster.django_q import install_django_q

install_django_q()
# A project's configuration from the time of Django-Q: it knows no other logger.
logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "[Q] %(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
        "loggers": {"django-q": {"handlers": ["out"], "level": "INFO", "propagate": False}},
    }
)
django.setup()

from django_q.cluster import Cluster, Sentinel  # noqa: E402  Django comes first
from django_q.tasks import async_task, result  # noqa: E402


def say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main(manner: str) -> None:
    if manner == "sentinel":
        run_sentinel()
        return
    cluster = Cluster()
    if manner == "atexit":
        atexit.register(lambda: say(f"stopped at exit {cluster.stop()}"))
    cluster.start()
    say(f"answer {result(async_task('tests.sample.tasks.add', 20, 22), wait=20_000)}")
    say(f"sentinel alive {cluster.sentinel.is_alive()}, running {cluster.is_running}")
    if manner == "stop":
        say(f"stopped {cluster.stop()}, alive {cluster.sentinel.is_alive()}, again {cluster.stop()}")
        say(f"has stopped {cluster.has_stopped}, exit code {cluster.sentinel.exitcode}")
    # otherwise this was all: a command of Django-Q's users ends here, and its process goes on


def run_sentinel() -> None:
    forking = multiprocessing.get_context("fork")
    stop, started = forking.Event(), forking.Event()

    def use() -> None:
        started.wait(30)
        say(f"answer {result(async_task('tests.sample.tasks.add', 20, 22), wait=20_000)}")
        stop.set()

    user = forking.Process(target=use)
    user.start()
    sentinel = Sentinel(stop, started, None)
    user.join()
    say(f"status {sentinel.status()}")


if __name__ == "__main__":
    main(sys.argv[1])
