"""Redis behind TLS: whose certificate is believed."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from django_cluster.brokers.redis import RedisBroker
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerUnavailable
from tests.servers import RedisServer
from tests.servers.base import free_port

pytestmark = pytest.mark.server("redis")

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *extensions: Any
) -> bytes:
    """In PEM; valid today."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TlsServer(RedisServer):
    """Speaks TLS on ``tls_port``, with a certificate for one host that the authority in ``ca`` has signed."""

    def __init__(self, folder: Path, host: x509.GeneralName) -> None:
        authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.ca, own, secret = folder / "ca.pem", folder / "own.pem", folder / "key.pem"
        self.ca.write_bytes(
            certificate("authority", authority, "authority", authority, x509.BasicConstraints(ca=True, path_length=0))
        )
        own.write_bytes(certificate("server", key, "authority", authority, x509.SubjectAlternativeName([host])))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.tls_port = free_port()
        files = ("--tls-cert-file", str(own), "--tls-key-file", str(secret), "--tls-ca-cert-file", str(self.ca))
        super().__init__("--tls-port", str(self.tls_port), *files, "--tls-auth-clients", "no")

    @property
    def tls_url(self) -> str:
        return f"rediss://127.0.0.1:{self.tls_port}/0?ssl_ca_certs={self.ca}"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[TlsServer]:
    """A server with the certificate of another host."""
    server = TlsServer(tmp_path, ELSEWHERE)
    try:
        yield server.start()
    finally:
        server.stop()


def broker_on(**options: Any) -> RedisBroker:
    return RedisBroker(BrokerSettings(kind="redis", name="tls", queue="tls", options=options))


def test_a_server_with_the_certificate_of_its_own_host_is_believed(tmp_path: Path) -> None:
    server = TlsServer(tmp_path, HERE)
    server.start()
    try:
        broker_on(url=server.tls_url).ping()
    finally:
        server.stop()


def test_the_certificate_of_another_host_is_refused(elsewhere: TlsServer) -> None:
    keywords = {"host": "127.0.0.1", "port": elsewhere.tls_port, "ssl": True, "ssl_ca_certs": str(elsewhere.ca)}

    for options in ({"url": elsewhere.tls_url}, {"kwargs": keywords}):
        with pytest.raises(BrokerUnavailable, match="certificate"):
            broker_on(**options).ping()


def test_a_project_that_says_so_believes_it_all_the_same(elsewhere: TlsServer) -> None:
    broker_on(url=f"{elsewhere.tls_url}&ssl_check_hostname=false").ping()
