"""Where the queue is."""

from __future__ import annotations

from functools import partial
from typing import Any

from django_cluster.core.settings.brokers import KINDS, SELECTORS
from django_cluster.core.settings.definition import SettingDefinition, define
from django_cluster.core.settings.values import flag_or_bytes, integer, mapping_of_mappings, seconds, text

general = partial(define, "")
broker = partial(define, "broker")


def selector(key: str, meaning: str, **more: Any) -> SettingDefinition:
    """One of the settings that choose a broker by being there."""
    return broker(key, SELECTORS[key], meaning, field="", **more)


BROKER = (
    broker(
        "broker",
        text(),
        "Which broker, if that is not clear from the settings below: a name in `brokers`, or a kind, because two are "
        f"there, or none. The kinds: {', '.join(KINDS)}. `memory` lives in one process: for tests.",
        field="",
        parity="New.",
    ),
    selector(
        "broker_url",
        "The broker in one line: `redis://…`, `rediss://…`, `unix://…`, `orm:default`, `amqp://…`, `mongodb://…`,"
        " `sqs://…`.",
        secret=True,
        parity="New.",
    ),
    selector(
        "orm",
        "Queue in this database of `DATABASES`.",
        default_words="`default`, if no broker is configured",
        parity="Default in Django-Q: Redis on this machine.",
    ),
    selector(
        "redis",
        "Redis: redis-py's keywords, or a URL; one server, Sentinels or a Cluster ([more](../how-to/redis.md)). The"
        " dict may hold a `url` and further keywords. `charset` and `errors` are understood as `encoding` and"
        " `encoding_errors`.",
        secret=True,
        more_variables=("Q_CLUSTER_REDIS_URL",),
        parity="What a dead cluster had taken is run by another. Django-Q's lists: see `qimport --redis`.",
    ),
    selector(
        "django_redis",
        "The Redis server of this cache of `CACHES`.",
        parity="Django's own Redis cache serves as well as django-redis.",
    ),
    selector(
        "broker_class",
        "Your own broker. One that descends from a shipped broker gets the options under the key of that one"
        " (`redis`, `orm`, …), which then stands beside it.",
        parity="A subclass of `django_cluster.brokers.base.Broker`: brokers written for Django-Q do not fit.",
    ),
    selector(
        "rabbitmq",
        "A RabbitMQ server: a URL, or a dict as [RabbitMQ](../how-to/rabbitmq.md) lists it.",
        secret=True,
        parity="New.",
    ),
    selector(
        "mongo",
        "A MongoDB server: keywords of `MongoClient`, or a `mongodb://` URL (see [MongoDB](../how-to/mongodb.md)).",
        secret=True,
        parity="The collection is another, so Django-Q's messages are not read.",
    ),
    broker(
        "mongo_db", text(), "The MongoDB database.", field="", default_words="the database of the URL, else `django-q`"
    ),
    selector(
        "sqs",
        "Amazon SQS; its keys are listed in [SQS](../how-to/sqs.md). An empty dict leaves all to boto3.",
        secret=True,
        parity="The messages are others: let Django-Q empty its queue, or use another name.",
    ),
    selector(
        "iron_mq",
        "IronMQ; its keys are listed in [IronMQ](../how-to/ironmq.md). An empty dict leaves all to Iron's environment"
        " variables.",
        secret=True,
        parity="The messages are others: let Django-Q empty its queue, or use another name.",
    ),
    selector(
        "disque_nodes",
        "Nodes of Disque, which is no longer developed ([more](../how-to/disque.md)). One of them is used, chosen at"
        " random, and another when it goes away. A text with commas is understood too.",
        secret=True,
        parity="Removed from Django-Q.",
    ),
    broker("disque_auth", text(), "The password of the nodes of Disque.", field="", secret=True),
    general(
        "brokers",
        mapping_of_mappings("a dict of names and dicts with the settings of one broker each"),
        "Brokers by name. A task chooses one with `broker='name'`, a cluster with the setting `broker`, or with "
        "`qcluster --broker name`. The one called `default`, if there is one, is the broker of the cluster, unless "
        "another is chosen.",
        default_words="none",
        secret=True,
        parity="New.",
    ),
    broker(
        "retry",
        seconds(),
        "The lease: how long a message is lent before others may have it. Leases are renewed while a task runs or"
        " waits inside the cluster, so this is how long a task stays away after its whole cluster has died.",
        field="lease",
        parity="Need not be longer than `timeout`, nor than the longest task.",
    ),
    broker(
        "bulk",
        integer(1),
        "The most messages to lease in one call.",
        parity="Django-Q: 1, and not on Redis. No more is leased than workers ask for, so large is harmless.",
    ),
    broker(
        "poll",
        seconds(),
        "Seconds between two looks at a queue that cannot wake us.",
        parity="An idle cluster waits longer and longer, up to a second, or is woken.",
    ),
    broker(
        "offload_large_payloads",
        flag_or_bytes(),
        "Keep payloads that are too large for the broker in the database, and give it a reference for each (see"
        " [SQS](../how-to/sqs.md)). A number of bytes keeps all that are larger. False refuses what the broker cannot"
        " take. Has no effect with `orm`.",
        parity="New.",
    ),
)
