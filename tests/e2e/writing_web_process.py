"""A web process that writes to the database of the cluster all the time, and sends tasks in its transactions.

``python -m tests.e2e.writing_web_process <name> <requests>``; ends with a traceback at the first error.
"""

from __future__ import annotations

import sys
from threading import Thread

import django


def main(name: str, requests: int) -> None:
    django.setup()
    from django.contrib.auth.models import Group
    from django.db import connection, transaction

    from django_cluster.tasks import async_task

    def serve(number: int) -> None:
        """One request: it reads, writes, and has more written."""
        with transaction.atomic():
            Group.objects.filter(name__startswith=name).count()
            order = Group.objects.create(name=f"{name} order {number}")
            async_task("tests.e2e.misbehaving_tasks.read_and_write", f"{name} done {number}", order.pk)
        Group.objects.filter(pk=order.pk).update(name=f"{name} sent {number}")

    errors: list[BaseException] = []

    def thread(first: int) -> None:
        try:
            for number in range(first, requests, 2):
                serve(number)
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            connection.close()

    threads = [Thread(target=thread, args=(first,)) for first in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    sys.exit(f"{len(errors)} threads failed." if errors else None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
