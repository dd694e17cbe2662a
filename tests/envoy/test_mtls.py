"""Who may call whom how: mutual TLS between real proxies, by mode, protocol and identity."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import istio
from tests.support.envoy import eventually
from tests.support.netns import needs_root
from tests.support.secured import SPIFFE, Secured, secured

pytestmark = needs_root
KINDS = ("http", "grpc", "tcp", "sniffed", "sniffed-tcp", "server-first")
ALL_OK = dict.fromkeys(KINDS, "ok")
IDENTIFIED = ("web", "alias")
REFUSED = {**dict.fromkeys(KINDS, "closed"), "grpc": "UNAVAILABLE"}
UNTRUSTED = ("wrong-ca", "expired", "alien")


@pytest.fixture(scope="module")
def world() -> Iterator[Secured]:
    with secured() as found:
        yield found


@pytest.mark.parametrize("client", IDENTIFIED)
@pytest.mark.parametrize("mode", ["DISABLE", "PERMISSIVE", "STRICT"])
def test_who_has_an_identity_is_let_in_with_every_protocol(world: Secured, mode: str, client: str):
    world.mode(mode)

    assert world.outcomes(client) == ALL_OK


@pytest.mark.parametrize("client", UNTRUSTED)
@pytest.mark.parametrize("mode", ["DISABLE", "PERMISSIVE", "STRICT"])
def test_who_shows_a_bad_identity_is_let_in_where_none_is_asked_for_alone(
    world: Secured, mode: str, client: str
):
    world.mode(mode)

    assert world.come_to(client, ALL_OK if mode == "DISABLE" else REFUSED)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("DISABLE", ALL_OK),
        # the server waits for the caller's first word, to see whether it is TLS
        ("PERMISSIVE", {**ALL_OK, "server-first": "silent"}),
        ("STRICT", {**REFUSED, "server-first": "silent"}),
    ],
)
def test_who_has_no_sidecar_is_let_in_unless_an_identity_is_asked_for(
    world: Secured, mode: str, expected: dict[str, str]
):
    world.mode(mode)

    assert world.come_to("plain", expected)


def test_a_port_may_ask_for_more_or_less_than_the_workload(world: Secured):
    world.mode("STRICT", http="DISABLE", sniffed="PERMISSIVE", tcp="UNSET")

    open_ = {"http": "ok", "sniffed": "ok", "server-first": "silent"}
    assert world.come_to("plain", {**REFUSED, **open_})
    assert world.come_to("web", ALL_OK)
    assert world.come_to("wrong-ca", {**REFUSED, "http": "ok"})


def test_a_port_that_no_host_has_asks_for_what_a_policy_says_of_it(world: Secured):
    for all_, one, expected in (
        ("PERMISSIVE", "UNSET", "ok"),
        ("PERMISSIVE", "STRICT", "closed"),
        ("STRICT", "UNSET", "closed"),
        ("STRICT", "PERMISSIVE", "ok"),
        ("STRICT", "DISABLE", "ok"),
    ):
        world.mode(all_, unnamed=one)
        eventually(lambda: world.unnamed("plain") == expected, 20)  # noqa: B023


@pytest.mark.parametrize("kind", ["http", "sniffed"])
def test_the_server_learns_the_callers_identity_and_no_caller_can_forge_it(
    world: Secured, kind: str
):
    forged = {"x-forwarded-client-cert": f"URI={SPIFFE}/admin"}
    world.mode("STRICT")
    assert world.come_to("web", ALL_OK)

    told = world.headers("web", kind, forged).get("x-forwarded-client-cert", "")
    world.mode("PERMISSIVE")
    plain = world.headers("plain", kind, forged)

    assert f"By={SPIFFE}/server" in told
    assert told.endswith(f"URI={SPIFFE}/web")
    assert "admin" not in told
    assert "x-forwarded-client-cert" not in plain


def test_a_server_with_another_identity_is_not_called(world: Secured):
    world.mode("STRICT")
    assert world.come_to("web", ALL_OK)

    world.plane.apply(*world.objects(account="somebody-else"))
    try:
        assert world.come_to("web", REFUSED)
    finally:
        world.plane.apply(*world.objects())
    assert world.come_to("web", ALL_OK)


def test_a_server_with_a_certificate_of_a_former_trust_domain_is_called(world: Secured):
    """As while a mesh goes over to another trust domain, until all have been renewed."""
    world.mode("STRICT")
    former = f"{SPIFFE}/server".replace("cluster.local", "old.example")
    server = world.secrets["server"]
    assert world.come_to("web", ALL_OK)

    def shown() -> bool:
        told = world.headers("web", "http", {}).get("x-forwarded-client-cert", "")
        return f"By={former};" in told

    server.certificate("default", world.mesh.issue(former))
    try:
        world.mode("PERMISSIVE")  # ends connections of before
        world.mode("STRICT")
        eventually(shown, 20)
        assert world.come_to("web", ALL_OK)
    finally:
        server.certificate("default", world.mesh.issue(f"{SPIFFE}/server"))
        assert world.come_to("web", ALL_OK)


def test_a_rule_that_asks_for_no_encryption_is_followed_and_one_that_asks_is_too(world: Secured):
    world.mode("STRICT")

    def rule(mode: str) -> None:
        policy = {"tls": {"mode": mode}}
        ports = [{"port": {"number": 9080}, **policy}]
        spec = {"host": istio.host("http"), "trafficPolicy": {"portLevelSettings": ports}}
        world.plane.apply(istio.document("DestinationRule", "http", spec))

    try:
        rule("DISABLE")
        assert world.come_to("web", {**ALL_OK, "http": "closed"})
        rule("ISTIO_MUTUAL")
        assert world.come_to("web", ALL_OK)
    finally:
        world.plane.run("delete", "destinationrule", "http")
