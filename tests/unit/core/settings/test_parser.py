"""How ``Q_CLUSTER`` is read: good values, bad values, layers, and the choice of a broker."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.due import CatchUp
from django_cluster.core.settings import Settings
from django_cluster.core.settings.parser import ParseContext, parse, try_parse
from django_cluster.core.settings.table import BY_KEY, DEFINITIONS, describe
from django_cluster.errors import InvalidSettings, Problem
from tests.fields import fields

SECRET = "hush-hush"


def read(mapping: Any, **context: Any) -> Settings:
    return parse(mapping, **{"secret": SECRET, "cpu_count": 4, "time_zone": "UTC", **context})


def problems(mapping: Any, **context: Any) -> tuple[Problem, ...]:
    given = {"secret": SECRET, "cpu_count": 4, "time_zone": "UTC", **context}
    return try_parse(mapping, ParseContext(**given)).problems


def ids(mapping: Any, **context: Any) -> list[str]:
    return [problem.id for problem in problems(mapping, **context)]


def test_an_empty_dict_is_a_whole_configuration() -> None:
    settings = read({}, platform="linux")

    assert settings.broker.kind == "orm"
    assert settings.broker.options == {"alias": "default"}
    assert (settings.name, settings.queue, settings.signing.salt) == ("default", "default", "default")
    assert settings.processes.workers == 4
    assert settings.processes.start_method == "fork"
    assert settings.delivery.retry_delay == 60
    assert settings.broker.bulk == 500
    assert settings.processes.prefetch == 0
    assert problems({}) == ()


def test_none_means_the_default() -> None:
    assert read({option.key: None for option in DEFINITIONS}) == read({})


GOOD = [
    ("workers", 3, "processes.workers", 3),
    ("workers", "auto", "processes.workers", 4),
    ("timeout", 90, "processes.timeout", 90.0),
    ("timeout", 0.5, "processes.timeout", 0.5),
    ("timeout", timedelta(minutes=2), "processes.timeout", 120.0),
    ("kill_grace", 0, "processes.kill_grace", 0.0),
    ("shutdown_timeout", 5, "processes.shutdown_timeout", 5.0),
    ("recycle", 0, "processes.recycle", 0),
    ("max_rss", 100_000, "processes.max_rss", 100_000),
    ("cpu_affinity", 2, "processes.cpu_affinity", 2),
    ("daemonize_workers", False, "processes.daemonize", False),
    ("guard_cycle", 59.9, "processes.guard_cycle", 59.9),
    ("queue_limit", 50, "processes.prefetch", 50),
    ("start_method", "spawn", "processes.start_method", "spawn"),
    ("boot_timeout", 10, "processes.boot_timeout", 10.0),
    ("unresponsive_timeout", 20, "processes.unresponsive_timeout", 20.0),
    ("retry", 5, "broker.lease", 5.0),
    ("retry", 5, "delivery.retry_delay", 5.0),
    ("retry_delay", 0, "delivery.retry_delay", 0.0),
    ("retry_backoff", 1, "delivery.retry_backoff", 1.0),
    ("retry_max_delay", 10, "delivery.retry_max_delay", 10.0),
    ("retry_jitter", False, "delivery.retry_jitter", False),
    ("max_worker_deaths", 0, "delivery.max_worker_deaths", 0),
    ("ack_failures", True, "delivery.ack_failures", True),
    ("max_attempts", 3, "delivery.max_attempts", 3),
    ("bulk", 1, "broker.bulk", 1),
    ("poll", 0.1, "broker.poll", 0.1),
    ("serializer", "json", "signing.serializer", "json"),
    ("compress", True, "signing.compress", True),
    ("compress", "zlib", "signing.compress", True),
    ("compress_threshold", 0, "signing.compress_threshold", 0),
    ("save_limit", -1, "results.save_limit", -1),
    ("save_limit_per", "group", "results.save_limit_per", "group"),
    ("cached", True, "results.cached", True),
    ("cached", 60, "results.cached", 60),
    ("cached", 0, "results.cached", False),
    ("cached", timedelta(hours=1), "results.cached", 3600),
    ("cache", "slow", "results.cache", "slow"),
    ("results_db", "other", "results.database", "other"),
    ("scheduler", False, "schedule.enabled", False),
    ("catch_up", True, "schedule.catch_up", CatchUp.ALL),
    ("catch_up", False, "schedule.catch_up", CatchUp.ONCE),
    ("catch_up", "skip", "schedule.catch_up", CatchUp.SKIP),
    ("schedule_interval", 30, "schedule.interval", 30.0),
    ("time_zone", "Europe/Berlin", "schedule.time_zone", "Europe/Berlin"),
    ("time_zone", ZoneInfo("Asia/Tokyo"), "schedule.time_zone", "Asia/Tokyo"),
    ("name", "shop", "signing.salt", "shop"),
    ("name", "shop", "broker.name", "shop"),
    ("name", "shop", "broker.queue", "shop"),
    ("queue", "fast", "queue", "fast"),
    ("cluster_name", "fast", "broker.queue", "fast"),
    ("sync", True, "sync", True),
    ("testing", True, "testing", True),
    ("label", "Django Q", "label", "Django Q"),
    ("log_level", "debug", "log_level", "DEBUG"),
    ("error_reporter", {"rollbar": {"environment": "x"}}, "reporters", {"rollbar": {"environment": "x"}}),
    ("error_reporter", "my.Reporter", "reporters", {"my.Reporter": {}}),
]


@pytest.mark.parametrize(("key", "value", "place", "expected"), GOOD)
def test_a_good_value_finds_its_place(key: str, value: object, place: str, expected: object) -> None:
    found: Any = read({key: value})

    for name in place.split("."):
        found = getattr(found, name)
    assert found == expected
    assert type(found) is type(expected) or place == "reporters"


BAD: list[tuple[str, object]] = [
    *[("workers", count) for count in (0, -1, 2.5, True, "many", ())],
    *[("timeout", length) for length in (0, -1, True, "60", float("nan"), float("inf"), timedelta(0), 10**400)],
    *[(key, -1) for key in ("retry", "recycle", "max_attempts", "max_rss", "queue_limit", "poll", "cpu_affinity")],
    *[("guard_cycle", length) for length in (0, 60, -1)],
    ("bulk", 0),
    ("bulk", -5),
    ("bulk", "10"),
    ("retry", 0),
    ("retry", 1e300),
    ("retry_backoff", 0.5),
    ("save_limit", "250"),
    ("save_limit_per", "user"),
    ("time_zone", "Mars/Olympus"),
    ("time_zone", "../etc/passwd"),
    ("serializer", "yaml"),
    ("compress", "zst"),
    ("compress", 1),
    ("start_method", "thread"),
    ("log_level", "LOUD"),
    ("name", ""),
    ("name", "x" * 101),
    ("name", "\ud800"),
    ("sync", "yes"),
    ("error_reporter", ["rollbar"]),
    ("redis", 6379),
    ("redis", "http://localhost"),
    ("redis", "redis://localhost:port"),
    ("broker_url", "ftp://localhost"),
    ("broker_class", "Broker"),
    ("disque_nodes", []),
    ("disque_nodes", [7711]),
    ("orm", {"alias": "default"}),
    ("sqs", "eu-west-1"),
    ("ALT_CLUSTERS", ["long"]),
    ("brokers", {"audit": 1}),
    ("broker", "kafka"),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_told_in_a_sentence_that_names_the_key(key: str, value: object) -> None:
    (problem,) = problems({key: value})

    assert problem.id == "E003"
    assert problem.key == key
    assert problem.sentence.startswith(f"{key} ")
    assert problem.sentence.endswith(".")


def test_all_problems_are_raised_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        read({"workers": -1, "retry": -1, "wrokers": 2, "orm": "default", "redis": {}}, secret="")

    assert sorted(problem.id for problem in caught.value.problems) == ["E002", "E003", "E003", "E004", "E008"]
    assert all(problem.sentence in str(caught.value) for problem in caught.value.problems)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("wrokers", "workers"), ("WORKERS", "workers"), ("alt_clusters", "ALT_CLUSTERS"), ("visibility_timeout", "retry")],
)
def test_an_unknown_key_names_the_nearest_known_one(key: str, nearest: str) -> None:
    (problem,) = problems({key: 1})

    assert problem.id == "E002"
    assert problem.hint == f"Did you mean {nearest!r}?"


def test_keys_that_are_no_text_and_settings_that_are_no_dict_are_problems() -> None:
    assert ids({3: 4}) == ["E002"]
    assert ids(["workers"]) == ["E001"]


def test_one_option_under_two_of_its_names_is_a_problem() -> None:
    assert ids({"queue": "a", "cluster_name": "b"}) == ["E007"]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(sorted(BY_KEY)) | st.text(max_size=12)


@given(st.dictionaries(keys, json_like, max_size=12) | json_like, st.none() | st.text(max_size=5))
def test_whatever_is_written_only_invalid_settings_are_raised(mapping: Any, cluster: str | None) -> None:
    before = copy.deepcopy(mapping)

    try:
        read(mapping, cluster=cluster)
    except InvalidSettings as error:
        assert error.problems  # noqa: PT017  most mappings do not raise

    assert repr(mapping) == repr(before)


@given(st.sampled_from([name for option in DEFINITIONS for name in option.variables]), st.text(max_size=20))
def test_whatever_the_environment_says_only_invalid_settings_are_raised(variable: str, text: str) -> None:
    try:
        read({}, environment={variable: text})
    except InvalidSettings as error:
        assert variable in str(error)  # noqa: PT017  most texts do not raise


def test_settings_can_be_pickled_and_compared() -> None:
    settings = read({"redis": {"host": "h", "password": "p"}, "brokers": {"audit": {"orm": "b"}}})

    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings != read({})


def test_no_secret_shows_when_settings_are_printed() -> None:
    secrets = {
        "redis": {"host": "redis.example", "password": SECRET, "anything": SECRET},
        "brokers": {"audit": {"broker_url": f"redis://u:{SECRET}@h"}},
        "error_reporter": {"rollbar": {"access_token": SECRET}},
    }

    settings = read(secrets, fallbacks=[f"old {SECRET}"])

    told = [settings, settings.broker, settings.signing, settings.broker.options, settings.brokers, settings.reporters]
    assert SECRET not in " ".join(f"{each!r} {each}" for each in told)
    assert SECRET not in repr(describe(settings))
    assert "redis.example" in repr(settings.broker.options)
    assert settings.broker.options["kwargs"]["password"] == SECRET


@pytest.mark.parametrize("key", [option.key for option in DEFINITIONS if option.secret])
def test_no_secret_shows_in_a_problem(key: str) -> None:
    found = [
        problem for value in (SECRET, [SECRET, 1], {SECRET: SECRET}, (SECRET,)) for problem in problems({key: value})
    ]

    assert SECRET not in repr([problem for problem in found if problem.id == "E003"])


class TestAlternativeClusters:
    written = {"name": "shop", "timeout": 60, "workers": 2, "ALT_CLUSTERS": {"long": {"timeout": None, "workers": 1}}}

    def test_a_listed_name_lays_its_settings_over_the_root(self) -> None:
        before = copy.deepcopy(self.written)

        settings = read(self.written, cluster="long")

        assert (settings.queue, settings.broker.queue) == ("long", "long")
        assert (settings.name, settings.signing.salt) == ("shop", "shop")
        assert (settings.processes.timeout, settings.processes.workers) == (None, 1)
        assert self.written == before

    def test_an_unlisted_name_runs_the_root_settings_on_another_queue(self) -> None:
        settings = read(self.written, cluster="short")

        assert settings.queue == "short"
        assert settings.processes.timeout == 60

    @pytest.mark.parametrize("name", ["shop", None])
    def test_the_name_of_the_root_is_the_root(self, name: str | None) -> None:
        written = {**self.written, "ALT_CLUSTERS": {"shop": {"timeout": 1}}}

        settings = read(written, cluster=name)

        assert settings.queue == "shop"
        assert settings.processes.timeout == 60

    def test_its_problems_say_where_they_stand(self) -> None:
        (problem,) = problems({"ALT_CLUSTERS": {"long": {"workers": -1}}}, cluster="long")

        assert problem.key == "ALT_CLUSTERS['long'].workers"

    def test_a_name_of_its_own_is_ignored_with_a_warning(self) -> None:
        written = {"name": "shop", "ALT_CLUSTERS": {"long": {"name": "other", "cluster_name": "long"}}}

        assert ids(written, cluster="long") == ["W004"]
        assert read(written, cluster="long").name == "shop"

    def test_its_broker_replaces_that_of_the_root(self) -> None:
        written = {"redis": {"host": "h"}, "ALT_CLUSTERS": {"long": {"orm": "big"}}}

        assert read(written, cluster="long").broker.options == {"alias": "big"}
        assert read(written).broker.kind == "redis"

    def test_a_name_that_no_queue_can_have_is_a_problem(self) -> None:
        assert ids({}, cluster="x" * 101) == ["E003"]


SEED_REDIS = {
    "host": "localhost",
    "port": 6379,
    "db": 0,
    "password": None,
    "socket_timeout": None,
    "charset": "utf-8",
    "errors": "strict",
    "unix_socket_path": None,
}

BROKERS = [
    ({"redis": {}}, "redis", {}),
    (
        {"redis": SEED_REDIS},
        "redis",
        {
            "kwargs": {
                "host": "localhost",
                "port": 6379,
                "db": 0,
                "socket_timeout": None,
                "encoding": "utf-8",
                "encoding_errors": "strict",
            }
        },
    ),
    ({"redis": "rediss://h:1/2?x=y"}, "redis", {"url": "rediss://h:1/2?x=y"}),
    (
        {"redis": {"url": "redis://h", "max_connections": 5}},
        "redis",
        {"url": "redis://h", "kwargs": {"max_connections": 5}},
    ),
    ({"django_redis": "fast"}, "redis", {"cache": "fast"}),
    ({"orm": "queue"}, "orm", {"alias": "queue"}),
    ({"broker": "memory"}, "memory", {}),
    ({"broker": "orm"}, "orm", {"alias": "default"}),
    ({"broker": "redis"}, "redis", {}),
    ({"broker_class": "my.broker.Mine"}, "my.broker.Mine", {}),
    ({"broker_url": "redis://h"}, "redis", {"url": "redis://h"}),
    ({"broker_url": "unix:///run/redis.sock"}, "redis", {"url": "unix:///run/redis.sock"}),
    ({"broker_url": "orm:queue"}, "orm", {"alias": "queue"}),
    ({"broker_url": "orm://queue"}, "orm", {"alias": "queue"}),
    ({"broker_url": "memory:"}, "memory", {}),
    ({"broker_url": "amqp://h"}, "rabbitmq", {"url": "amqp://h"}),
    ({"broker_url": "sqs://k:s@"}, "sqs", {"url": "sqs://k:s@"}),
    ({"mongo": "mongodb://h", "mongo_db": "q"}, "mongo", {"kwargs": {"host": "mongodb://h"}, "database": "q"}),
    ({"mongo": {"host": "h"}}, "mongo", {"kwargs": {"host": "h"}}),
    ({"sqs": {}}, "sqs", {}),
    ({"iron_mq": {"token": "t"}}, "iron_mq", {"token": "t"}),
    ({"rabbitmq": {"exchange": "x"}}, "rabbitmq", {"exchange": "x"}),
    (
        {"disque_nodes": "a:1, b:2", "disque_auth": "p"},
        "disque",
        {"nodes": ("a:1", "b:2"), "password": "p"},
    ),
    ({"broker": "redis", "redis": {"host": "h"}, "orm": "default"}, "redis", {"kwargs": {"host": "h"}}),
    ({"broker": "orm", "redis": {"host": "h"}, "orm": "default"}, "orm", {"alias": "default"}),
]


class TestBroker:
    @pytest.mark.parametrize(("mapping", "kind", "options"), BROKERS)
    def test_a_broker_is_chosen_by_being_there(self, mapping: Any, kind: str, options: Any) -> None:
        broker = read(mapping).broker

        assert broker.kind == kind
        assert broker.options == options

    def test_a_broker_may_be_chosen_among_those_that_have_names(self) -> None:
        named = {"audit": {"redis": "redis://h", "bulk": 7}, "quick": {"broker": "memory"}}

        chosen = read({"broker": "audit", "brokers": named})
        assert fields(chosen.broker, "kind", "bulk", "alias") == {"kind": "redis", "bulk": 7, "alias": "audit"}
        assert chosen.broker == chosen.brokers["audit"]
        assert read({"brokers": named}).broker.kind == "orm"

    def test_the_broker_named_default_is_that_of_the_cluster(self) -> None:
        named = {"default": {"redis": "redis://h"}, "audit": {"orm": "default"}}

        assert read({"brokers": named}).broker.alias == "default"
        assert read({"brokers": named, "broker": "audit"}).broker.kind == "orm"
        assert read({"brokers": named, "orm": "default"}).broker.alias == ""

    def test_an_alternative_cluster_may_choose_another_of_them(self) -> None:
        written = {
            "redis": "redis://h",
            "brokers": {"audit": {"orm": "audit"}},
            "ALT_CLUSTERS": {"books": {"broker": "audit"}},
        }

        assert read(written, cluster="books").broker.options == {"alias": "audit"}
        assert read(written, cluster="books").broker.queue == "books"
        assert read(written).broker.kind == "redis"

    def test_a_broker_that_nobody_named_is_a_problem_which_tells_the_nearest(self) -> None:
        (problem,) = problems({"broker": "audti", "brokers": {"audit": {"orm": "default"}}})

        assert problem.id == "E003"
        assert "'audit'" in problem.sentence

    def test_a_named_broker_beside_another_is_one_too_many(self) -> None:
        assert ids({"broker": "audit", "orm": "default", "brokers": {"audit": {"redis": {}}}}) == ["E004"]

    def test_an_unknown_scheme_names_the_nearest(self) -> None:
        (problem,) = problems({"broker_url": "reddis://h"})

        assert "did you mean 'redis'?" in problem.sentence

    @pytest.mark.parametrize(
        "mapping",
        [{"redis": {}, "orm": "default"}, {"broker": "redis", "redis": {}, "django_redis": "default"}],
    )
    def test_two_brokers_are_a_problem(self, mapping: Any) -> None:
        assert ids(mapping) == ["E004"]

    @pytest.mark.parametrize(
        ("mapping", "kind", "options"),
        [
            ({"redis": {"host": "h"}}, "redis", {"kwargs": {"host": "h"}}),
            ({"broker": "redis", "redis": "redis://h", "orm": "default"}, "redis", {"url": "redis://h"}),
            ({"orm": "queue"}, "orm", {"alias": "queue"}),
            ({"mongo": {"host": "h"}, "mongo_db": "q"}, "mongo", {"kwargs": {"host": "h"}, "database": "q"}),
            ({"broker_url": "amqp://h"}, "rabbitmq", {"url": "amqp://h"}),
        ],
    )
    def test_a_class_beside_the_options_of_a_broker_gets_them(self, mapping: Any, kind: str, options: Any) -> None:
        broker = read({"broker_class": "my.broker.Mine", **mapping}).broker

        assert fields(broker, "class_path", "kind", "options") == {
            "class_path": "my.broker.Mine",
            "kind": kind,
            "options": options,
        }

    def test_a_class_beside_two_brokers_does_not_say_which_is_meant(self) -> None:
        assert ids({"broker_class": "my.broker.Mine", "redis": {}, "orm": "default"}) == ["E004"]

    def test_a_named_broker_may_be_a_class_beside_its_options_too(self) -> None:
        named = {"fast": {"broker_class": "my.broker.Mine", "redis": "redis://h"}, "plain": {"redis": "redis://h"}}

        settings = read({"orm": "default", "broker_class": None, "brokers": named})

        assert (settings.brokers["fast"].class_path, settings.brokers["plain"].class_path) == ("my.broker.Mine", "")
        assert settings.brokers["fast"].options == {"url": "redis://h"}

    def test_naming_one_kind_and_configuring_another_is_a_problem(self) -> None:
        assert ids({"broker": "redis", "orm": "default"}) == ["E005"]

    def test_brokers_with_names_are_read_like_the_main_one(self) -> None:
        settings = read({"name": "shop", "retry": 9, "brokers": {"audit": {"redis": "redis://h", "bulk": 7}}})

        audit = settings.brokers["audit"]
        assert fields(audit, "kind", "options", "bulk", "lease") == {
            "kind": "redis",
            "options": {"url": "redis://h"},
            "bulk": 7,
            "lease": 9,
        }
        assert (audit.name, audit.queue) == (settings.broker.name, settings.broker.queue)

    def test_a_named_broker_takes_settings_of_brokers_only(self) -> None:
        assert [each.key for each in problems({"brokers": {"a": {"workers": 1}}}) if each.is_error] == [
            "brokers['a'].workers"
        ]


class TestFunctions:
    def test_a_function_stands_for_its_value_and_is_called_once(self) -> None:
        values = iter([3, 4])

        settings = read({"workers": lambda: next(values)})

        assert settings.processes.workers == 3
        assert list(values) == [4]

    def test_a_function_in_a_connection_stands_for_a_secret(self) -> None:
        settings = read({"redis": {"password": lambda: SECRET, "redis_connect_func": print}})

        assert settings.broker.options["kwargs"] == {"password": SECRET, "redis_connect_func": print}

    def test_a_function_that_fails_is_a_problem(self) -> None:
        def broken() -> str:
            raise LookupError(SECRET)

        (problem,) = problems({"name": broken})

        assert problem.id == "E006"
        assert "LookupError" in problem.sentence
        assert SECRET not in repr(problem)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("variable", "text", "place", "expected"),
        [
            ("WORKERS", "3", "processes.workers", 3),
            ("WORKERS", "auto", "processes.workers", 4),
            ("TIMEOUT", "0.5", "processes.timeout", 0.5),
            ("SYNC", "yes", "sync", True),
            ("SYNC", "1", "sync", True),
            ("SYNC", "False", "sync", False),
            ("COMPRESS", "zlib", "signing.compress", True),
            ("CACHED", "60", "results.cached", 60),
            ("LABEL", "42", "label", "42"),
            ("LABEL", "", "label", "Django Cluster"),
            ("REDIS", '{"host": "h"}', "broker.options", {"kwargs": {"host": "h"}}),
            ("REDIS", "redis://h", "broker.options", {"url": "redis://h"}),
            ("REDIS_URL", "redis://h", "broker.options", {"url": "redis://h"}),
            ("DISQUE_NODES", "a:1,b:2", "broker.options", {"nodes": ("a:1", "b:2")}),
        ],
    )
    def test_a_variable_says_what_the_settings_do_not(
        self, variable: str, text: str, place: str, expected: object
    ) -> None:
        found: Any = read({}, environment={f"Q_CLUSTER_{variable}": text})

        for name in place.split("."):
            found = getattr(found, name)
        assert found == expected

    def test_settings_come_before_the_environment(self) -> None:
        environment = {"Q_CLUSTER_WORKERS": "3", "Q_CLUSTER_REDIS": "redis://h"}

        settings = read({"workers": 1, "orm": "default"}, environment=environment)

        assert settings.processes.workers == 1
        assert settings.broker.kind == "orm"

    def test_the_name_of_the_site_is_not_taken_from_the_variable_that_picks_a_cluster(self) -> None:
        assert read({}, environment={"Q_CLUSTER_NAME": "long"}).name == "default"

    def test_a_bad_variable_is_named(self) -> None:
        (problem,) = problems({}, environment={"Q_CLUSTER_WORKERS": "-3"})

        assert problem.sentence.startswith("The environment variable Q_CLUSTER_WORKERS must be ")

    def test_an_unknown_variable_is_a_warning(self) -> None:
        (problem,) = problems({}, environment={"Q_CLUSTER_WROKERS": "3", "OTHER": "x"})

        assert (problem.id, problem.hint) == ("W001", "Did you mean 'Q_CLUSTER_WORKERS'?")


def test_very_many_workers_are_a_warning() -> None:
    assert ids({"workers": 17}) == ["W005"]
    assert ids({"workers": 16}) == []


def test_a_time_zone_without_use_tz_is_a_warning_and_has_no_effect() -> None:
    assert ids({"time_zone": "Europe/Berlin"}, time_zone=None) == ["W006"]
    assert read({"time_zone": "Europe/Berlin"}, time_zone=None).schedule.time_zone is None


def test_processes_are_spawned_where_forking_is_not_safe() -> None:
    assert read({}, platform="darwin").processes.start_method == "spawn"


class TestHomes:
    written: ClassVar[dict[str, Any]] = {
        "name": "shop",
        "redis": "redis://h",
        "brokers": {"audit": {"orm": "audit"}},
        "ALT_CLUSTERS": {"books": {"broker": "audit"}, "mail": {"workers": 1}, "far": {"redis": "redis://far"}},
    }

    def test_a_cluster_knows_which_queues_live_elsewhere(self) -> None:
        queue_brokers = read(self.written).queue_brokers

        assert {queue: (home.kind, home.queue) for queue, home in queue_brokers.items()} == {
            "books": ("orm", "books"),
            "far": ("redis", "far"),
        }

    def test_so_does_one_of_them(self) -> None:
        queue_brokers = read(self.written, cluster="books").queue_brokers

        assert {queue: home.options for queue, home in queue_brokers.items()} == {
            "shop": {"url": "redis://h"},
            "mail": {"url": "redis://h"},
            "far": {"url": "redis://far"},
        }

    def test_what_is_wrong_with_another_queue_is_no_matter_here(self) -> None:
        assert read({**self.written, "ALT_CLUSTERS": {"books": {"workers": -1}}}).queue_brokers == {}

    def test_addresses_do_not_show(self) -> None:
        written = {**self.written, "ALT_CLUSTERS": {"far": {"redis": f"redis://:{SECRET}@far"}}}

        assert SECRET not in repr(read(written))
        assert SECRET not in repr(read(written).queue_brokers)
