"""The app ``"django_cluster.django_q"``: to the project, and to packages built on Django-Q, it is the app ``django_q``.

One line in ``INSTALLED_APPS`` in the place of ``"django_q"``. Its models are proxies of this package's under the label
``django_q``, so that foreign keys, permissions, content types and addresses of the admin keep their names; its
migrations have Django-Q's names (``migrations/__init__.py`` says what they do).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from django_cluster.django_q.shim.finder import ROOT, install

install()  # Django imports this module first, and then "django_q"

CLUSTER_APP = "django_cluster"


class DjangoQConfig(AppConfig):
    """Takes the place of Django-Q's app, and brings ``django_cluster`` along where it is not installed itself."""

    name = ROOT
    label = ROOT
    path = str(Path(__file__).parent)
    verbose_name = "Django Q"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        if not apps.ready:
            _bring_cluster()
            _name_django_q()

    def import_models(self) -> None:
        super().import_models()
        from django_cluster.django_q import models  # noqa: F401  importing them registers them

    def ready(self) -> None:
        from django_cluster.django_q import models

        models.Schedule.seal_fixtures()
        for proxy in models.PROXIES:
            _forward(proxy)


def _bring_cluster() -> None:
    """Install the app ``django_cluster``, unless an entry of its own does."""
    named = (entry for entry in settings.INSTALLED_APPS if not entry.startswith(f"{CLUSTER_APP}.{ROOT}"))
    if CLUSTER_APP in apps.app_configs or any(entry.partition(".")[0] == CLUSTER_APP for entry in named):
        return
    config = AppConfig.create(CLUSTER_APP)
    config.apps = apps
    apps.app_configs[config.label] = config


def _name_django_q() -> None:
    """Let ``"django_q" in settings.INSTALLED_APPS`` be true, without another entry for Django to load."""
    entries: Any = settings.INSTALLED_APPS
    if ROOT not in entries:
        kind = _NamedTuple if isinstance(entries, tuple) else _NamedList
        settings.INSTALLED_APPS = kind(entries)


class _Names:
    def __contains__(self, entry: object) -> bool:
        return entry in (ROOT, CLUSTER_APP) or super().__contains__(entry)  # type: ignore[misc]  # of a list or tuple


class _NamedList(_Names, list[str]):
    """The entries, of which the two apps are some."""


class _NamedTuple(_Names, tuple[str, ...]):
    """The entries, of which the two apps are some."""


def _forward(proxy: Any) -> None:
    """Tell receivers that are connected to a proxy of what happens to rows of its model.

    Deletions are forwarded only if there are receivers by now: Django deletes faster where nothing listens.
    """
    from django_cluster.lifecycle.row_receivers import FORWARDER, PROXIES

    signals = [pre_save, post_save]
    signals += [signal for signal in (pre_delete, post_delete) if signal.has_listeners(proxy)]

    def forward(signal: Any, instance: Any, **facts: Any) -> None:
        if signal.has_listeners(proxy) and isinstance(instance, proxy):
            signal.send(proxy, instance=instance, **{k: v for k, v in facts.items() if k != "sender"})

    for signal in signals:
        signal.connect(forward, sender=proxy.__base__, weak=False, dispatch_uid=f"{FORWARDER}{proxy.__name__}")
    if proxy not in (known := PROXIES.get(proxy.__base__, [])):
        known.append(proxy)
