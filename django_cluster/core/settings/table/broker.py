"""The broker, and how messages are leased from it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django_cluster.core.settings.brokers import KINDS, SELECTORS
from django_cluster.core.settings.definition import SettingDefinition, define
from django_cluster.core.settings.named_values import mapping_of_mappings
from django_cluster.core.settings.values import flag_or_bytes, integer, seconds, text

general = partial(define, "")
broker = partial(define, "broker")


def selector(key: str, meaning: str, **more: Any) -> SettingDefinition:
    """One of the settings that choose a broker by being there."""
    return broker(key, SELECTORS[key], meaning, field="", **more)


BROKER = (
    broker(
        "broker",
        text(),
        "The broker of the cluster: a name in `brokers`, or a kind of broker. Needed where other settings leave it"
        f" open: where two brokers are configured, or none. The kinds: {', '.join(KINDS)}. `memory` lives in one"
        " process, for tests.",
        field="",
        new=True,
    ),
    selector(
        "broker_url",
        "The broker as one URL: `redis://…`, `rediss://…`, `unix://…`, `orm:default`, `amqp://…`, `mongodb://…`,"
        " `sqs://…`.",
        secret=True,
        new=True,
    ),
    selector(
        "orm",
        "Keep the queue in this database of `DATABASES`.",
        default_words="`default`, if no broker is configured",
        django_q="the default broker is Redis on this machine",
    ),
    selector(
        "redis",
        "A Redis broker: keyword arguments of redis-py, or a URL; one server, Sentinels or a Cluster (see"
        " [Redis](../how-to/redis.md)). The dict may contain a `url` and further keywords. `charset` and `errors` are"
        " read as `encoding` and `encoding_errors`.",
        secret=True,
        more_variables=("Q_CLUSTER_REDIS_URL",),
        difference="Tasks that a dead cluster had leased run elsewhere. Django-Q's lists are imported by"
        " `qimport --redis`.",
    ),
    selector(
        "django_redis",
        "Use the Redis server of this cache of `CACHES` as the broker.",
        difference="Django's own Redis cache serves as well as django-redis.",
    ),
    selector(
        "broker_class",
        "A broker class of the project. A subclass of a shipped broker gets the options of that broker (`redis`, `orm`,"
        " …), which are then set beside it.",
        difference="A subclass of `django_cluster.brokers.base.Broker`: brokers written for Django-Q do not fit.",
    ),
    selector(
        "rabbitmq",
        "A RabbitMQ broker: a URL, or a dict with the keys of [RabbitMQ](../how-to/rabbitmq.md).",
        secret=True,
        new=True,
    ),
    selector(
        "mongo",
        "A MongoDB broker: keyword arguments of `MongoClient`, or a `mongodb://` URL (see"
        " [MongoDB](../how-to/mongodb.md)).",
        secret=True,
        difference="The collection is another, so that Django-Q's messages are not read.",
    ),
    broker(
        "mongo_db",
        text(),
        "The MongoDB database of the queue.",
        field="",
        default_words="the database of the URL, else `django-q`",
    ),
    selector(
        "sqs",
        "An Amazon SQS broker: a dict with the keys of [SQS](../how-to/sqs.md). An empty dict leaves everything to"
        " boto3.",
        secret=True,
        difference="The format of messages is another: let Django-Q empty its queue, or use another name.",
    ),
    selector(
        "iron_mq",
        "An IronMQ broker: a dict with the keys of [IronMQ](../how-to/ironmq.md). An empty dict leaves everything to"
        " Iron's environment variables.",
        secret=True,
        difference="The format of messages is another: let Django-Q empty its queue, or use another name.",
    ),
    selector(
        "disque_nodes",
        "A Disque broker: its nodes, as a list or as text with commas (see [Disque](../how-to/disque.md)). One node is"
        " chosen at random, and another when it is unavailable. Disque is no longer developed.",
        secret=True,
        difference="Removed from Django-Q.",
    ),
    broker("disque_auth", text(), "The password of the Disque nodes.", field="", secret=True),
    general(
        "brokers",
        mapping_of_mappings("a dict of names and dicts with the settings of one broker each"),
        "Brokers by name. A task chooses one with `broker='name'`, a cluster with the setting `broker` or with"
        " `qcluster --broker name`. The one called `default` is the broker of the cluster, unless another is chosen.",
        default_words="none",
        secret=True,
        new=True,
    ),
    broker(
        "retry",
        seconds(),
        "Duration of a lease, in seconds: how long a leased message is invisible to other clusters. A cluster renews"
        " the leases of running and waiting tasks, so `retry` is the time until a task runs elsewhere after its whole"
        " cluster has died.",
        field="lease",
        difference="Need not be longer than `timeout`, nor than the longest task.",
    ),
    broker(
        "bulk",
        integer(1),
        "Maximum number of messages that are leased in one call to the broker.",
        difference="The default in Django-Q is 1, and Redis ignores it. No more is leased than the workers ask for,"
        " so a large number does no harm.",
    ),
    broker(
        "poll",
        seconds(),
        "Seconds between two queries of a queue that cannot notify the cluster.",
        difference="An idle cluster waits longer, up to a second, or is notified.",
    ),
    broker(
        "offload_large_payloads",
        flag_or_bytes(),
        "Keep payloads that exceed the limit of the broker in the database, and send a reference to each instead (see"
        " [SQS](../how-to/sqs.md)). A number keeps every payload of more than that many bytes in the database. `False`"
        " refuses what the broker cannot take. Has no effect with `orm`.",
        new=True,
    ),
)
