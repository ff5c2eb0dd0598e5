"""A program that has a cluster inside: what it does with it stands on the command line."""

from __future__ import annotations

import logging
import sys
import time

import django

# Here and not in main(): the processes of a cluster that is spawned import this module, and nothing else of ours.
logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
django.setup()

from django_cluster.cluster.supervisor.embedded_cluster import Cluster  # noqa: E402  Django comes first
from django_cluster.conf import load_settings  # noqa: E402
from django_cluster.django_q.shim.cluster import Cluster as ClusterOfDjangoQ  # noqa: E402
from django_cluster.tasks import async_task, result  # noqa: E402

logger = logging.getLogger("embedded")


def main(manner: str) -> None:
    if manner == "as in Django-Q":
        ask_as_in_django_q()
        return
    cluster = Cluster(load_settings())
    cluster.start()
    logger.info("started")
    if manner == "tidy":
        answer = result(async_task("tests.sample.tasks.add", 20, 22), wait=20_000)
        logger.info("answer %s, exit code %s, running %s", answer, cluster.stop(), cluster.is_running)
    elif manner == "hanging":
        time.sleep(60)


def ask_as_in_django_q() -> None:
    cluster = ClusterOfDjangoQ()
    cluster.start()
    while not cluster.cluster_id or cluster.is_starting:  # until it has said so itself
        time.sleep(0.05)
    known = cluster.stat
    logger.info("%s is %s, stopping %s", cluster.name, known.status, cluster.is_stopping)
    logger.info("the same %s", (known.pid, known.host) == (cluster.pid, cluster.host))
    cluster.stop()
    logger.info("afterwards %s, stopped %s", cluster.stat.status, cluster.has_stopped)


if __name__ == "__main__":
    main(sys.argv[1])
