"""What is peculiar to the SQS broker: queues and their names, parts of batches, FIFO, dead letters, a service away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import MAX_ATTEMPTS, Message
from django_cluster.brokers.publisher import delay_queue
from django_cluster.brokers.sqs import MAX_BYTES, SqsBroker
from django_cluster.brokers.sqs_options import SqsOptions
from django_cluster.core.masking import MaskedMapping
from django_cluster.core.queue_names import hyphenated_name
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import lease_all, messages, payloads, receipts
from tests.brokers import opener
from tests.servers import SqsServer, require
from tests.servers.base import free_port


@pytest.fixture
def broker(sqs_server: SqsServer) -> Iterator[Broker]:
    broker = opener("sqs", **sqs_server.options)()
    yield broker
    broker.close()


@pytest.fixture
def console(sqs_server: SqsServer) -> Iterator[Any]:
    """Another client of the same service."""
    options = {**sqs_server.options, "region_name": sqs_server.options["aws_region"]}
    options.pop("aws_region")
    client = boto3.client("sqs", **options)
    yield client
    client.close()


@pytest.fixture
def own_server() -> Iterator[SqsServer]:
    """A service that a test may hurt."""
    require("sqs")
    server = SqsServer().start()
    yield server
    server.stop()


def fifo(server: SqsServer, **options: Any) -> Broker:
    return opener("sqs", **server.options, queue_name="{queue}.fifo", **options)()


# -- options --------------------------------------------------------------------------------------


def test_opening_a_broker_asks_no_server() -> None:
    opener("sqs", region_name="eu-west-1", endpoint_url="http://nobody.invalid")()


def test_options_are_parted_into_those_of_the_session_the_client_and_ours() -> None:
    options = SqsOptions.of({"aws_region": "eu-west-1", "aws_access_key_id": "k", "endpoint_url": "http://here"})

    assert options.session == {"region_name": "eu-west-1", "aws_access_key_id": "k"}
    assert options.client == {"endpoint_url": "http://here"}


def test_a_url_says_the_same_as_a_dict() -> None:
    options = SqsOptions.of({"url": "sqs://key:se%2Fcret@localhost:4566/?region_name=eu-west-1&use_ssl=0"})

    assert options.session == {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "se/cret",
        "region_name": "eu-west-1",
    }
    assert options.client == {"endpoint_url": "http://localhost:4566"}


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"aws_regoin is not known.*aws_region"):
        opener("sqs", aws_regoin="eu-west-1")()


@pytest.mark.parametrize("seconds", [21, -1, "soon", True])
def test_a_long_poll_lasts_at_most_twenty_seconds(seconds: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="from 0 to 20"):
        opener("sqs", receive_message_wait_time_seconds=seconds)()


def test_secrets_are_not_shown() -> None:
    section = BrokerSettings(kind="sqs", options={"aws_region": "x", "aws_secret_access_key": "hush"})

    broker = SqsBroker(section)

    assert "hush" not in repr(section) + repr(broker) + repr(SqsOptions.of(section.options)) + broker.info()


@pytest.mark.parametrize(
    ("pattern", "site", "queue", "name"),
    [
        ("", "shop", "shop", "shop"),
        ("", "my-shop", "my-shop", "my-shop"),
        ("", "shop", "long", "shop-long-730444a1"),
        ("jobs", "shop", "long", "jobs"),
        ("{queue}.fifo", "shop", "long", "long.fifo"),
    ],
)
def test_queues_have_the_names_of_the_site_and_the_queue(pattern: str, site: str, queue: str, name: str) -> None:
    assert SqsOptions(name_pattern=pattern).queue_name(site, queue) == name


def test_a_name_that_sqs_would_refuse_becomes_one_that_it_takes_and_stays_apart_from_others() -> None:
    options = SqsOptions()

    odd, other = options.queue_name("my shop", "é" * 100), options.queue_name("my shop", "é" * 99)

    assert len(odd) <= 80
    assert odd.isascii()
    assert odd != other


# -- queues ---------------------------------------------------------------------------------------


def test_a_queue_that_is_not_there_is_created(broker: Broker, console: Any) -> None:
    broker.ping()

    assert console.get_queue_url(QueueName=hyphenated_name("tests", broker.queue))["QueueUrl"]


def test_a_queue_is_not_created_where_that_is_not_allowed(sqs_server: SqsServer) -> None:
    broker = opener("sqs", **sqs_server.options, create_queue=False)()

    with pytest.raises(BrokerRefused, match="does not exist"):
        broker.enqueue(messages("one"))


def test_with_a_prefix_sqs_is_not_asked_for_the_url(sqs_server: SqsServer) -> None:
    prefix = f"{sqs_server.url}/123456789012/"
    broker = opener("sqs", **sqs_server.options, queue_url_prefix=prefix)()

    broker.enqueue(messages("one"))  # the first call hears that there is no such queue, and creates it

    assert payloads(lease_all(broker, 1)) == ["one"]


def test_attributes_may_be_written_as_python_has_them() -> None:
    written = {"RedrivePolicy": {"maxReceiveCount": 9}, "ContentBasedDeduplication": True, "KmsMasterKeyId": "alias/x"}

    assert SqsOptions.of(MaskedMapping({"queue_attributes": written})).attributes == {
        "RedrivePolicy": '{"maxReceiveCount": 9}',
        "ContentBasedDeduplication": "true",
        "KmsMasterKeyId": "alias/x",
    }


def test_an_endpoint_is_a_url_and_its_password_is_not_shown() -> None:
    with pytest.raises(ImproperlyConfigured, match="endpoint_url begins with http"):
        opener("sqs", region_name="eu-west-1", endpoint_url="localhost:4566")()

    keys: dict[str, Any] = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    broker = opener("sqs", region_name="eu-west-1", endpoint_url=f"http://me:hush@127.0.0.1:{free_port()}", **keys)()
    with pytest.raises(BrokerUnavailable) as caught:
        broker.ping()
    assert "hush" not in str(caught.value)


def test_attributes_are_given_to_a_queue_that_is_created(sqs_server: SqsServer, console: Any) -> None:
    broker = opener("sqs", **sqs_server.options, queue_attributes={"MessageRetentionPeriod": 86400})()
    broker.ping()

    url = console.get_queue_url(QueueName=hyphenated_name("tests", broker.queue))["QueueUrl"]
    attributes = console.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    assert attributes["MessageRetentionPeriod"] == "86400"
    assert attributes["VisibilityTimeout"] == "60"


def test_a_wrong_key_is_refused_and_not_waited_for(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import NoCredentialsError

    def without_credentials(*_: Any) -> None:
        raise NoCredentialsError

    monkeypatch.setattr("django_cluster.brokers.sqs_connection.SqsConnection._call", without_credentials)

    with pytest.raises(BrokerRefused, match="credentials"):
        broker.ping()


# -- batches --------------------------------------------------------------------------------------


def test_a_call_takes_ten_messages_and_a_mebibyte(broker: SqsBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    call, sizes = broker._connection.call, []

    def count(action: str, **keywords: Any) -> dict[str, Any]:
        sizes.append(len(keywords["Entries"]))
        return call(action, **keywords)

    monkeypatch.setattr(broker._connection, "call", count)

    broker.enqueue(messages(*"x" * 25))
    broker.enqueue(messages(*["x" * (MAX_BYTES // 2)] * 3))
    broker.enqueue([])

    assert sizes == [10, 10, 5, 1, 1, 1]


def test_what_sqs_did_not_take_just_now_is_sent_again_and_nothing_twice(
    broker: SqsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, refusals = broker._connection.call, [2, 1]

    def take_only_a_part(action: str, **keywords: Any) -> dict[str, Any]:
        if action != "send_message_batch" or not refusals:
            return call(action, **keywords)
        left_out = keywords["Entries"][-refusals.pop(0) :]
        kept = [entry for entry in keywords["Entries"] if entry not in left_out]
        answer = call(action, Entries=kept)
        failed = [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in left_out]
        return {**answer, "Failed": failed}

    monkeypatch.setattr(broker._connection, "call", take_only_a_part)

    broker.enqueue(messages("1", "2", "3", "4"))

    assert sorted(payloads(lease_all(broker, 4))) == ["1", "2", "3", "4"]


def test_an_error_says_how_many_messages_had_been_sent(own_server: SqsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = opener("sqs", **own_server.options)()
    assert isinstance(broker, SqsBroker)
    broker.ping()
    send = broker._send

    def send_once_and_die(entries: list[dict[str, Any]]) -> None:
        send(entries)
        own_server.kill()

    monkeypatch.setattr(broker, "_send", send_once_and_die)
    with pytest.raises(BrokerUnavailable) as caught:
        broker.enqueue(messages(*[str(number) for number in range(25)]))

    assert caught.value.__notes__ == ["10 of 25 messages had been sent before."]


def test_attempts_that_a_message_brings_along_are_counted_on(broker: Broker) -> None:
    broker.enqueue([Message("moved", attempts=3)])

    assert lease_all(broker, 1)[0].attempt == 4


# -- FIFO -----------------------------------------------------------------------------------------


def test_a_fifo_queue_keeps_the_order_and_leases_no_second_batch_of_a_group_before_the_first_is_done(
    sqs_server: SqsServer,
) -> None:
    broker = fifo(sqs_server)
    broker.enqueue(messages(*[str(number) for number in range(15)]))

    first = broker.lease(15)

    assert payloads(first) == [str(number) for number in range(10)]
    broker.acknowledge(receipts(first))
    assert payloads(lease_all(broker, 5)) == [str(number) for number in range(10, 15)]


def test_a_batch_that_is_sent_again_because_the_answer_was_lost_is_kept_once(
    sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = fifo(sqs_server)
    assert isinstance(broker, SqsBroker)
    call, lost = broker._connection._call, [True]

    def lose_the_first_answer(action: str, keywords: dict[str, Any]) -> dict[str, Any]:
        answer = call(action, keywords)
        if action == "send_message_batch" and lost:
            lost.clear()
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(broker._connection, "_call", lose_the_first_answer)

    broker.enqueue(messages("one"))

    assert broker.size().total == 1


def test_a_fifo_queue_says_that_it_delays_nothing(sqs_server: SqsServer) -> None:
    capabilities = fifo(sqs_server).capabilities

    assert (capabilities.delay, capabilities.fifo) == (False, True)


def test_what_is_released_to_a_fifo_queue_keeps_its_place(sqs_server: SqsServer) -> None:
    broker = fifo(sqs_server)
    broker.enqueue(messages("1", "2", "3"))

    broker.release(broker.lease(2), refund_attempt=True)

    again = lease_all(broker, 3)
    assert [(each.payload, each.attempt) for each in again] == [("1", 2), ("2", 2), ("3", 1)]


# -- copies ---------------------------------------------------------------------------------------


def fail_once(broker: SqsBroker, monkeypatch: pytest.MonkeyPatch, action: str, error: Exception) -> None:
    """The first such call fails before SQS has heard of it."""
    call, errors = broker._connection.call, [error]

    def fail(which: str, **keywords: Any) -> dict[str, Any]:
        if which == action and errors:
            raise errors.pop()
        return call(which, **keywords)

    monkeypatch.setattr(broker._connection, "call", fail)


def test_a_copy_that_was_sent_is_not_sent_again(broker: SqsBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.enqueue(messages(*map(str, range(15))))
    held = lease_all(broker, 15)
    fail_once(broker, monkeypatch, "delete_message_batch", BrokerUnavailable("away"))

    with pytest.raises(BrokerUnavailable):
        broker.release(held, refund_attempt=True)
    assert broker.size().total == 25
    broker.release(held, refund_attempt=True)

    assert broker.size().total == 15
    assert {each.attempt for each in lease_all(broker, 15)} == {1}


def test_killed_between_the_copy_and_the_deletion_both_are_there(
    sqs_server: SqsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = opener("sqs", **sqs_server.options)(lease=1)
    assert isinstance(broker, SqsBroker)
    broker.enqueue(messages("one"))
    monkeypatch.setattr(broker, "acknowledge", lambda receipts: None)  # as if it never came to that

    broker.release(broker.lease(1), refund_attempt=True)

    both = lease_all(broker, 2)
    assert sorted((each.payload, each.attempt) for each in both) == [("one", 1), ("one", 2)]


def test_without_a_copy_a_message_is_released_as_it_is(
    broker: SqsBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker.enqueue(messages("one"))
    held = lease_all(broker, 1)
    fail_once(broker, monkeypatch, "send_message_batch", BrokerRefused("not allowed to send"))

    broker.release(held, refund_attempt=True)

    assert [(each.payload, each.attempt) for each in lease_all(broker, 1)] == [("one", 2)]
    assert "not allowed to send" in caplog.text


def test_where_copies_would_take_too_long_the_rest_is_released_as_it_is(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("django_cluster.brokers.republishing.REPUBLISH_SECONDS", 0.0)
    broker.enqueue(messages(*map(str, range(25))))

    broker.release(lease_all(broker, 25), refund_attempt=True)

    assert Counter(each.attempt for each in lease_all(broker, 25)) == {1: 10, 2: 15}
    assert "Returning 15 messages costs an attempt" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("is_fifo", [False, True], ids=["standard", "FIFO"])
def test_the_copy_of_what_sqs_cannot_delay_for_so_long_waits_in_the_database(
    sqs_server: SqsServer, is_fifo: bool
) -> None:
    broker = fifo(sqs_server) if is_fifo else opener("sqs", **sqs_server.options)()
    broker.enqueue([Message("one", attempts=2)])

    broker.release(lease_all(broker, 1), delay=3600, refund_attempt=True)

    assert broker.size().total == 0
    (waiting,) = delay_queue(broker.settings).peek()
    assert (waiting.payload, waiting.attempts) == ("one", 2)
    assert waiting.due is not None
    assert 3590 < waiting.due - time.time() <= 3600


# -- dead letters ---------------------------------------------------------------------------------


def test_a_queue_of_dead_letters_takes_what_was_leased_too_often(sqs_server: SqsServer, console: Any) -> None:
    dead = console.create_queue(QueueName=f"dead-{uuid4().hex}")["QueueUrl"]
    arn = console.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
    broker = opener("sqs", **sqs_server.options, queue_attributes={"RedrivePolicy": policy})()
    broker.enqueue(messages("doomed"))

    for _ in range(2):
        broker.release(lease_all(broker, 1))

    assert list(broker.lease(1)) == []
    (message,) = console.receive_message(QueueUrl=dead)["Messages"]
    assert message["Body"] == "doomed"


def test_what_was_released_at_no_cost_counts_anew_for_the_queue_of_dead_letters(
    sqs_server: SqsServer, console: Any
) -> None:
    dead = console.create_queue(QueueName=f"dead-{uuid4().hex}")["QueueUrl"]
    arn = console.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
    broker = opener("sqs", **sqs_server.options, queue_attributes={"RedrivePolicy": policy})()
    broker.enqueue(messages("patient"))

    for _ in range(4):
        broker.release(lease_all(broker, 1), refund_attempt=True)

    assert lease_all(broker, 1)[0].attempt == 1


# -- a service that is away -----------------------------------------------------------------------


def test_a_service_that_hangs_is_said_in_time(own_server: SqsServer) -> None:
    broker = opener("sqs", **own_server.options)()
    broker.ping()
    started = time.monotonic()

    with own_server.paused(), pytest.raises(BrokerUnavailable):
        broker.enqueue(messages("lost"))

    assert time.monotonic() - started < 10
    broker.ping()


def test_without_long_polls_a_broker_asks_again_and_again(sqs_server: SqsServer) -> None:
    broker = opener("sqs", **sqs_server.options, receive_message_wait_time_seconds=0)()

    assert not broker.capabilities.blocking
    assert list(broker.lease(1, wait=0.2)) == []
    broker.enqueue(messages("one"))
    assert payloads(broker.lease(1, wait=5)) == ["one"]


# -- what others have put there -------------------------------------------------------------------

NASTY_ATTEMPTS = ["3000000000", "-5", "1e40", "9" * 30, "²", "٣", "", "x", "1.5", "NaN", "0x10", "1_000"]


@pytest.mark.parametrize("value", NASTY_ATTEMPTS)
@pytest.mark.parametrize("kind", ["Number", "String", "Binary"])
def test_whatever_stands_in_the_attribute_of_the_attempts_the_message_is_leased(
    kind: str, value: str, broker: Broker, console: Any
) -> None:
    given = {"BinaryValue": value.encode() or b" "} if kind == "Binary" else {"StringValue": value or " "}
    broker.prepare()
    url = console.get_queue_url(QueueName=hyphenated_name("tests", broker.queue))["QueueUrl"]
    try:
        console.send_message(
            QueueUrl=url, MessageBody="garbage", MessageAttributes={"attempts": {"DataType": kind, **given}}
        )
    except ClientError:
        return  # what the service refuses, nobody can be lent

    (lent,) = lease_all(broker, 1)

    assert lent.payload == "garbage"
    assert 1 <= lent.attempt <= MAX_ATTEMPTS + 1
