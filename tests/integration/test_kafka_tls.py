"""A Kafka behind TLS: one listener lets in whoever shows a certificate, another one who knows a password."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from daemon import broker
from daemon.config.kafka import Kafka
from daemon.embedded.given import GivenKafka
from daemon.embedded.kafka import KafkaServer
from daemon.embedded.ports import LOOPBACK, free_port
from daemon.errors import OperatorError
from schemas.topics import table_topic
from tests.command import REPOSITORY
from tests.fix_capture import RigFactory, read_topics

# Signed by themselves, until 2126; the key of client.crt is encrypted with PASSWORD.
CERTIFICATES = REPOSITORY / "tests" / "tls"
PASSWORD = "only-for-tests"
TLS = {"security_protocol": "SSL", "ssl_ca_location": str(CERTIFICATES / "server.crt")}
CERTIFICATE = {
    "ssl_certificate_location": str(CERTIFICATES / "client.crt"),
    "ssl_key_location": str(CERTIFICATES / "client.key"),
    "ssl_key_password": PASSWORD,
}
LOGIN = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "PLAIN",
    "sasl_username": "placemat",
    "sasl_password": PASSWORD,
}
PROPERTIES = {
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,LOGIN:SASL_SSL",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": str(CERTIFICATES / "client.crt"),
    "listener.name.tls.ssl.client.auth": "required",
    "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.login.plain.sasl.jaas.config": (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required user_placemat="{PASSWORD}";'
    ),
}


@dataclass(frozen=True, slots=True)
class Listeners:
    """Addresses of one broker."""

    plain: str
    tls: str
    login: str


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    keystore = tmp_path_factory.mktemp("kafka") / "server.pem"
    keystore.write_text("".join((CERTIFICATES / f"server.{kind}").read_text() for kind in ("key", "crt")))
    tls, login = (f"{LOOPBACK}:{free_port()}" for _ in range(2))
    properties = {**PROPERTIES, "ssl.keystore.location": str(keystore)}
    with KafkaServer(properties=properties, listeners=[f"TLS://{tls}", f"LOGIN://{login}"]) as server:
        yield Listeners(server.bootstrap_servers, tls, login)


def kafka(address: str, *settings: dict[str, str]) -> Kafka:
    return Kafka.model_validate({"bootstrap_servers": address, **{k: v for one in settings for k, v in one.items()}})


def test_rows_reach_a_kafka_that_asks_for_a_certificate(listeners: Listeners, capture_factory: RigFactory) -> None:
    rig = capture_factory(kafka=GivenKafka(listeners.tls))
    for name, value in (TLS | CERTIFICATE).items():
        rig.site.set(f"kafka.{name}", value)
    rig.sql("INSERT INTO items SELECT i FROM generate_series(1, 5) i")
    rig.init()
    with rig.start() as capture:
        rig.copied()
        rig.sql("INSERT INTO items VALUES (6)")
        rig.caught_up()
    assert capture.error is None
    found = read_topics(listeners.plain, [table_topic(rig.site.source, "public", "items")])
    assert {one.row_key["id"] for one in found} == {1, 2, 3, 4, 5, 6}


def test_a_password_over_tls_lets_in(listeners: Listeners) -> None:
    assert broker.cluster_id(broker.reach(kafka(listeners.login, TLS, LOGIN)))


REFUSED = {
    "an authority that the broker's certificate is not of": (
        "tls", TLS | CERTIFICATE | {"ssl_ca_location": str(CERTIFICATES / "other.crt")}, "certificate verify failed",
    ),
    "no certificate": ("tls", TLS, "certificate required"),
    "a wrong password of the key": ("tls", TLS | CERTIFICATE | {"ssl_key_password": "no"}, "ssl.key.location failed"),
    "a wrong password": ("login", TLS | LOGIN | {"sasl_password": "another"}, "Authentication failed"),
    "no TLS where it is wanted": ("tls", {}, "transport failure"),
    "TLS where there is none": ("plain", TLS, "SSL connection closed by peer"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_two_sides_do_not_agree_on_is_told(
    listeners: Listeners, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "REACH_SECONDS", 0.5)
    listener, settings, sentence = REFUSED[case]
    address = getattr(listeners, listener)
    with pytest.raises(OperatorError, match=sentence) as refused:
        broker.reach(kafka(address, settings))
    assert str(refused.value).startswith(f"Kafka cannot be reached at {address}: ")
    assert "kafka.security_protocol" in (refused.value.try_ or "")
