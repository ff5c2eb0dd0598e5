"""A program that enqueues one message for each line it reads, a moment after it: entry of DATABASES (JSON), queue."""

from __future__ import annotations

import json
import random
import sys
import time

import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["django_cluster"], DATABASES={"default": json.loads(sys.argv[1])})
django.setup()

from django_cluster.brokers.messages import Message  # noqa: E402  Django comes first
from tests.brokers import opener  # noqa: E402


def main(queue: str) -> None:
    broker = opener("orm", alias="default")(queue=queue)
    for line in sys.stdin:
        time.sleep(random.uniform(0, 0.004))
        broker.enqueue([Message(line.strip())])
    broker.close()


main(sys.argv[2])
