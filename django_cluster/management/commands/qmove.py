"""``manage.py qmove``: from one broker into another, while clusters run on both or on neither."""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import get_client
from django_cluster.conf import broker_section
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerError, InvalidSettings
from django_cluster.lifecycle.queue_transfer import QueueTransfer, TransferResult
from django_cluster.management.base import sentence as printed

LOOK_AGAIN = 1.0
"""Seconds between two looks with ``--follow``."""


class Command(BaseCommand):
    """Parses, opens both ends, and tells what was moved."""

    help = _("Moves queued tasks from one broker or queue into another. No task is lost when it is interrupted.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        place = _("A name in brokers, 'default' for the broker of the settings, or a URL such as redis://host.")
        parser.add_argument("--from", dest="source", default="default", metavar="BROKER", help=place)
        parser.add_argument("--to", dest="target", default="default", metavar="BROKER", help=place)
        parser.add_argument("--queue", help=_("The queue to move; default: the one of the settings."))
        parser.add_argument("--to-queue", help=_("The queue to move into; default: the same name."))
        parser.add_argument("--limit", type=int, help=_("Move at most this many tasks."))
        parser.add_argument("--dry-run", action="store_true", help=_("Only print how many there are."))
        parser.add_argument("--follow", action="store_true", help=_("Keep moving until interrupted."))

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError(_("--limit must be at least 1."))
        try:
            source, target = ends(options)
            if options["dry_run"]:
                self._tell_sizes(source)
            else:
                self._move(source, target, options["limit"], follow=options["follow"])
        except (BrokerError, ImproperlyConfigured) as error:
            raise CommandError(printed(error)) from error

    def _tell_sizes(self, source: Broker) -> None:
        for broker in with_delay_queue(source):
            size = broker.size()
            self.stdout.write(
                f"{broker.queue}: {size.ready} ready, {size.delayed} delayed; {size.leased} are leased and would stay."
            )

    def _move(self, source: Broker, target: Broker, limit: int | None, *, follow: bool) -> None:
        if not target.capabilities.priority:
            self.stdout.write(f"{type(target).__name__} has no priorities: those of the tasks are dropped.")
        total, refused = 0, 0
        try:
            while True:
                for moved in move_all(source, target, None if limit is None else limit - total):
                    total, refused = total + moved.total, refused + len(moved.refused)
                    self._tell(moved)
                if not follow or (limit is not None and total >= limit):
                    break
                time.sleep(LOOK_AGAIN)
        except KeyboardInterrupt:
            self.stdout.write("")
        size = source.size()
        self.stdout.write(f"{total} tasks were moved; {size.total} are left, {size.leased} of them leased by clusters.")
        if refused:
            raise CommandError(f"{refused} tasks were refused, and stay in their queue.")

    def _tell(self, moved: TransferResult) -> None:
        for sentence in dict.fromkeys(moved.refused):
            self.stderr.write(printed(sentence))
        if moved.duplicated:
            self.stderr.write(f"{moved.duplicated} tasks became due while they were moved, and will run twice.")


def ends(options: dict[str, Any]) -> tuple[Broker, Broker]:
    """Where from, and where to."""
    queue = options["queue"]
    try:
        source = broker_section(options["source"], queue)
        target = broker_section(options["target"], options["to_queue"] or queue)
    except InvalidSettings:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from error
    if place_of(source) == place_of(target):
        raise CommandError(_("Both ends are the same: name two brokers, or a queue with --to-queue."))
    opened = open_broker(source), open_broker(target)
    if target.alias == "" and "://" in options["target"] and opened[1].capabilities.longest_delay < math.inf:
        raise CommandError(_("This broker cannot keep long delays by itself. Name it in brokers, and use that name."))
    return opened


def place_of(section: BrokerSettings) -> tuple[str, dict[str, Any], str]:
    return section.class_path or section.kind, dict(section.options), section.queue


def with_delay_queue(source: Broker) -> Iterator[Broker]:
    """The queue, and where its long delays are kept."""
    yield source
    if source.capabilities.longest_delay < math.inf:
        yield delay_queue(source.settings)


def move_all(source: Broker, target: Broker, limit: int | None) -> Iterator[TransferResult]:
    signed = None
    if source.queue != target.queue:
        codec = get_client(source.queue).codec
        signed = partial(codec.signed_for, queue=target.queue)
    for broker in with_delay_queue(source):
        moved = QueueTransfer(broker, target, signed=signed).run(limit)
        limit = None if limit is None else limit - moved.total
        yield moved
        if limit == 0:
            return
