"""Packages that zstd has compressed, where it is there and where it is not."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from django_cluster.core import compression
from django_cluster.core.codec import Codec, header_of, peek_header, salt_of
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.settings import SigningSettings
from django_cluster.core.settings.named_values import compression as compression_kind
from django_cluster.core.settings.values import InvalidValue
from django_cluster.core.signing import derive_key, sign
from django_cluster.errors import LibraryMissing, PackageError, UnknownFormat

SIGNING = SigningSettings(secret="a secret", salt="tests")
CODEC = Codec(SIGNING)
MEBIBYTE = 1 << 20


def package(*args: Any, **kwargs: Any) -> TaskPackage:
    header = TaskHeader(id="0123456789abcdef" * 2, name="a name", func="app.tasks.add", enqueued_at=1_700_000_000.5)
    return TaskPackage(header=header, args=args, kwargs=kwargs)


def signed(body: bytes, flags: str) -> str:
    """What a program with the key would send, byte by byte."""
    text = b"dc1" + flags.encode() + b":" + base64.b64encode(body)
    signature = base64.b64encode(sign(derive_key("a secret", salt_of("tests", "tests")), text))
    return (text + b":" + signature).decode()


needs_zstd = pytest.mark.skipif(not compression.is_available("zstd"), reason="needs Python 3.14 or backports.zstd")
SQUEEZERS = {method: Codec(replace(SIGNING, compress=method, compress_threshold=0)) for method in (True, "zstd")}


@needs_zstd
@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_what_zstd_has_compressed_is_read_by_every_codec(serializer: str) -> None:
    section = replace(SIGNING, compress_threshold=0, serializer=serializer)
    sent = package("x" * 100_000)

    for writing in (True, "zstd"):
        text = Codec(replace(section, compress=writing)).dumps(sent)
        for reading in (False, True, "zstd"):
            assert Codec(replace(section, compress=reading)).loads(text).args == sent.args
        assert peek_header(text) == sent.header
        assert text.startswith(f"dc1{serializer[0]}{'z' if writing is True else 's'}:")


@needs_zstd
def test_a_package_that_zstd_has_compressed_stays_so_until_its_label_is_changed() -> None:
    sent = package("x" * 100_000, key=[1])
    text = SQUEEZERS["zstd"].dumps(sent)
    body = CODEC.verify(text)

    assert len(body) < 2000
    assert CODEC.sign(body) == SQUEEZERS[True].sign(body) == text
    assert header_of(body) == sent.header
    relabelled, header = CODEC.replace_header(text, lambda header: replace(header, name="another"))
    assert CODEC.loads(relabelled).args == sent.args
    assert (header.name, relabelled[:5]) == ("another", "dc1p:")


@needs_zstd
def test_zstd_unpacks_no_more_than_is_allowed_and_takes_no_window_of_any_size() -> None:
    zstd = import_module(next(name for name in compression.ZSTD_MODULES if find_spec(name.partition(".")[0])))
    label = b'{"v":1,"id":"x","name":"a bomb","func":"f.g","at":1.0}\n'
    bomb = signed(zstd.compress(label + bytes(300 * MEBIBYTE)), "ps")
    wide = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.checksum_flag: 1}
    stream = zstd.ZstdCompressor(options=wide)
    hungry = signed(stream.compress(label + random.Random(7).randbytes(1000)) + stream.flush(), "ps")
    codec = Codec(replace(SIGNING, max_payload_size=4 * MEBIBYTE))

    assert (header_of(codec.verify(bomb)).name, peek_header(bomb).name) == ("a bomb", "a bomb")
    with pytest.raises(UnknownFormat, match="more than 4194304 when it is decompressed"):
        codec.split(codec.verify(bomb))
    with pytest.raises(UnknownFormat, match="damaged"):
        peek_header(hungry)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x28\xb5\x2f\xfd"])
def test_what_is_no_zstd_is_an_unknown_format(data: bytes) -> None:
    with pytest.raises(PackageError):
        CODEC.split(CODEC.verify(signed(data, "ps")))
    with pytest.raises(PackageError):
        peek_header(signed(data, "ps"))


def test_without_the_library_a_package_of_zstd_is_for_others_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = signed(b"whatever", "ps")
    monkeypatch.setattr(compression, "_zstd", lambda: None)

    with pytest.raises(LibraryMissing, match=r"pip install 'django-cluster\[zstd\]'"):
        CODEC.verify(text)
    with pytest.raises(InvalidValue, match="zstd"):
        compression_kind().convert("zstd")
