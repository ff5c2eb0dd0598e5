"""Django's settings become ours: lazily, once, and again when they change."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_cluster.conf import ClusterImproperlyConfigured, forget_settings, load_settings
from django_cluster.errors import InvalidSettings


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was read from another environment."""
    monkeypatch.delenv("Q_CLUSTER_NAME", raising=False)
    forget_settings()


def test_settings_are_read_once() -> None:
    assert load_settings() is load_settings()
    assert load_settings("long") is load_settings("long")


def test_changed_settings_are_read_again_and_restored() -> None:
    before = load_settings()

    with override_settings(Q_CLUSTER={"name": "other", "workers": 1}):
        assert load_settings().name == "other"

    assert load_settings() == before


def test_without_q_cluster_the_defaults_hold() -> None:
    with override_settings():
        del settings.Q_CLUSTER
        forget_settings()

        assert load_settings().name == "default"
        assert load_settings().broker.options == {"alias": "default"}


def test_secret_keys_are_those_of_django() -> None:
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old", b"\xff"]):
        signing = load_settings().signing

    assert signing.secret == "new"
    assert signing.fallbacks == ("old", "\udcff")


@pytest.mark.parametrize(("use_tz", "zone"), [(True, "Asia/Tokyo"), (False, None)])
def test_the_time_zone_is_that_of_django(use_tz: bool, zone: str | None) -> None:
    with override_settings(TIME_ZONE="Asia/Tokyo", USE_TZ=use_tz, Q_CLUSTER={}):
        assert load_settings().schedule.time_zone == zone


def test_the_environment_picks_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(Q_CLUSTER={"name": "shop", "ALT_CLUSTERS": {"long": {"timeout": 9}}}):
        monkeypatch.setenv("Q_CLUSTER_NAME", "long")

        assert (load_settings().queue, load_settings().processes.timeout) == ("long", 9)
        assert load_settings("shop").processes.timeout is None


def test_the_environment_fills_in_what_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Q_CLUSTER_RECYCLE", "7")

    with override_settings(Q_CLUSTER={}):
        assert load_settings().processes.recycle == 7


@pytest.mark.parametrize("caught_as", [ImproperlyConfigured, InvalidSettings])
def test_problems_are_raised_together_as_improperly_configured(caught_as: type[Exception]) -> None:
    with override_settings(Q_CLUSTER={"workers": -1, "wrokers": 1}), pytest.raises(caught_as) as caught:
        load_settings()

    assert isinstance(caught.value, ClusterImproperlyConfigured)
    assert [problem.id for problem in caught.value.problems] == ["E002", "E003"]


def test_a_missing_secret_key_is_one_of_the_problems() -> None:
    with override_settings(SECRET_KEY="", Q_CLUSTER={"workers": 0}), pytest.raises(InvalidSettings) as caught:
        load_settings()

    assert [problem.id for problem in caught.value.problems] == ["E003", "E008"]


def test_importing_reads_no_settings() -> None:
    program = "import django_cluster.conf; from django.conf import settings; assert not settings.configured"

    subprocess.run([sys.executable, "-c", program], check=True, env={"PATH": ""})
