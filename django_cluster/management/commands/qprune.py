"""``manage.py qprune``: delete outdated task rows, and payloads that no broker references any more, in batches."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.utils.translation import gettext as _

from django_cluster.brokers.payload_store import PayloadStore
from django_cluster.conf import load_settings
from django_cluster.core.settings.named_values import FAILED, RETENTION_KINDS
from django_cluster.database.session import Session
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.management.base import sentence
from django_cluster.models import Task
from django_cluster.stores.pruning import (
    AgeRule,
    CountLimit,
    delete_beyond,
    delete_in_batches,
    limits,
    outdated,
    overfull,
    rules,
)
from django_cluster.stores.rows import SUCCESS
from django_cluster.stores.session import results_session

PATIENCE = 30.0
"""Seconds for which a portion waits for others who write at the same time."""


class Command(BaseCommand):
    """Delete outdated rows, and print how many of each kind."""

    help = _("Deletes the rows of finished tasks that the settings save_limit and retention_days no longer keep.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        days = _("Delete tasks that ended this many days ago, instead of the setting.")
        parser.add_argument("--days", type=float, help=days)
        parser.add_argument(
            "--status", action="append", choices=RETENTION_KINDS, help=_("Only rows of this kind; may be repeated.")
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Only print how many there are."))

    def handle(self, *args: Any, **options: Any) -> None:
        settings = load_settings().results
        database = settings.database or router.db_for_write(Task)
        try:
            done = not options["status"] and self._prune_payloads(dry_run=options["dry_run"])
            for limit in limits(settings) if options["days"] is None else ():
                if limit.kind in (options["status"] or [limit.kind]):
                    done = True
                    self._prune_by_number(results_session(database), limit, settings.save_limit_per, options["dry_run"])
            for rule in self._rules(options["days"], options["status"], settings.retention_days, may_be_none=done):
                rows = outdated(database, rule)
                count = (
                    rows.count()
                    if options["dry_run"]
                    else sum(delete_in_batches(results_session(database), rows, retry_seconds=PATIENCE))
                )
                words = "would be deleted" if options["dry_run"] else "deleted"
                age = "a day" if rule.days == 1 else f"{rule.days:g} days"
                self.stdout.write(f"{rule.kind}: {count} older than {age} {words}.")
        except (StoreUnavailable, BrokerError) as error:
            raise CommandError(sentence(error)) from error

    def _prune_by_number(self, session: Session, limit: CountLimit, per: str | None, dry_run: bool) -> None:
        """Delete the rows beyond the newest, also of groups, names and functions of which no task ended recently."""
        count = 0
        for key, many in overfull(session.alias, limit, per).items():
            count += many if dry_run else self._drop(session, limit, per, key)
        words = "would be deleted" if dry_run else "deleted"
        each = f" of each {per}" if per else ""
        self.stdout.write(f"{limit.kind}: {count} beyond the newest {limit.number}{each} {words}.")

    def _drop(self, session: Session, limit: CountLimit, per: str | None, key: str | None) -> int:
        count = 0
        while portion := delete_beyond(session, limit, per, key, retry_seconds=PATIENCE).deleted:
            count += portion
        return count

    def _prune_payloads(self, *, dry_run: bool) -> bool:
        """Delete offloaded payloads that no broker references any more; returns whether there are any."""
        payloads = PayloadStore("")
        rows = payloads.expired()
        count = payloads.count(rows) if dry_run else payloads.delete_in_batches(rows)
        if count:
            words = "would be deleted" if dry_run else "deleted"
            self.stdout.write(f"large payloads: {count} that no broker references any more {words}.")
        return count > 0

    def _rules(
        self, days: float | None, kinds: list[str] | None, retention_days: Any, *, may_be_none: bool
    ) -> list[AgeRule]:
        if days is not None and not days >= 0:
            raise CommandError(_("--days must be at least 0."))
        if days is None:
            found = [rule for rule in rules(retention_days or {}) if not kinds or rule.kind in kinds]
            if not found and not may_be_none:
                raise CommandError(_("Nothing says for how long rows are kept: give --days, or set retention_days."))
            return found
        return rules(dict.fromkeys(kinds or (SUCCESS, FAILED), days))
