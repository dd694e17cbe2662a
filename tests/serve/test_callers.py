"""What a certificate of the mesh lets its holder say that it is."""

from __future__ import annotations

import itertools

import pytest

from plait.serve import identity
from plait.serve.ca.spiffe import Identity
from plait.serve.callers import caller, refusal
from tests.support.xds_client import node

WEB = Identity(trust_domain="cluster.local", namespace="demo", account="web")
ID = "sidecar~10.0.0.1~web-1.demo~demo.svc.cluster.local"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([b"spiffe://cluster.local/ns/demo/sa/web"], WEB),
        ([b"https://web.demo", b"spiffe://cluster.local/ns/demo/sa/web"], None),
        ([b"spiffe://cluster.local/ns/-/sa/web"], None),
        ([], None),
        ([b"web.demo.svc"], None),
        ([b"spiffe://cluster.local/ns/demo/sa/web", b"spiffe://cluster.local/ns/x/sa/y"], None),
        ([b"spiffe://cluster.local/ns/demo"], None),
        ([b"spiffe://cluster.local/ns/demo/sa/web/"], None),
        ([b"spiffe://cluster.local/ns/demo/sa/web\n"], None),
        ([b"spiffe://cluster.local/ns//sa/web"], None),
        ([b"spiffe://cluster.local/ns/demo/x/sa/web"], None),
        ([b"spiffe://CLUSTER.local/ns/demo/sa/web"], None),
        ([b"spiffe://cluster.local/ns/demo/sa/we\xffb"], None),
    ],
)
def test_a_caller_is_the_one_spiffe_id_of_its_certificate(
    names: list[bytes], found: Identity | None
):
    assert caller(names) == found


@pytest.mark.parametrize(
    ("claimed", "word"),
    [
        (node(ID, NAMESPACE="demo", SERVICE_ACCOUNT="web"), ""),
        (node(ID, NAMESPACE="demo"), ""),
        (node(ID), ""),
        (node(ID, NAMESPACE="bank", SERVICE_ACCOUNT="web"), 'in namespace "bank"'),
        (node(ID, NAMESPACE="demo", SERVICE_ACCOUNT="admin"), 'account "admin"'),
        (node(ID.replace("demo", "bank"), NAMESPACE="demo"), "node id"),
        (node(ID.replace("web-1.demo", "web-1.xdemo"), NAMESPACE="demo"), "node id"),
        (node(ID.replace("demo", "bank")), 'in namespace "bank"'),
        (node("web-1", NAMESPACE="demo"), "node id"),
        (node("", NAMESPACE="demo"), "node id"),
        (None, 'in namespace "default"'),
    ],
    ids=itertools.count(),
)
def test_a_caller_may_be_a_node_of_its_namespace_and_account(claimed: object, word: str):
    why = refusal(WEB, identity.parse(claimed), ("cluster.local",))

    assert (why == "") == (word == "")
    assert word in why


def test_the_same_names_in_another_trust_domain_are_somebody_else():
    assert "another trust domain" in refusal(WEB, identity.parse(node(ID)), ("other.example",))


def test_a_former_trust_domain_is_as_good_as_the_meshs():
    assert refusal(WEB, identity.parse(node(ID)), ("other.example", "cluster.local")) == ""


@pytest.mark.parametrize(
    "claimed",
    [
        node(ID, NAMESPACE="b" * 1_000_000),
        node(ID, NAMESPACE="demo", SERVICE_ACCOUNT="b" * 1_000_000),
        node("b" * 1_000_000, NAMESPACE="demo"),
    ],
    ids=["namespace", "account", "id"],
)
def test_a_refusal_shows_the_beginning_of_what_was_claimed(claimed: object):
    why = refusal(WEB, identity.parse(claimed), ("cluster.local",))

    assert "bbb" in why
    assert len(why) < 500
