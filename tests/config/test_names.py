import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plait.config import names
from plait.config.meta import Key


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("reviews", "reviews.demo.svc.cluster.local"),
        ("reviews.other", "reviews.other"),
        ("reviews.other.svc.cluster.local", "reviews.other.svc.cluster.local"),
        ("*", "*"),
        ("*.example.com", "*.example.com"),
        ("", ""),
    ],
)
def test_only_a_name_without_dots_is_of_the_own_namespace(written, full):
    assert names.resolve(written, "demo") == full


def test_wildcards_go_from_the_most_specific_to_all():
    assert names.wildcards("a.b.com") == ("*.b.com", "*.com", "*")
    assert names.wildcards("*.b.com") == ("*.b.com", "*.com", "*")
    assert names.wildcards("localhost") == ("*",)


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("a.com", "a.com", True),
        ("*.com", "a.b.com", True),
        ("*.com", "*.b.com", True),
        ("*.b.com", "*.com", False),
        ("*.b.com", "b.com", False),
        ("*", "anything", True),
        ("a.com", "b.a.com", False),
    ],
)
def test_a_wildcard_covers_what_ends_like_it(pattern, host, covered):
    assert names.matches(pattern, host) is covered


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ((), ("*",)),
        (("*",), ("*",)),
        ((".",), ("demo",)),
        (("~",), ()),
        ((".", "other", "demo"), ("demo", "other")),
    ],
)
def test_export_to_names_who_sees_an_object(written, seen):
    assert names.exports(written, "demo") == seen


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mesh", "mesh"),
        ("web", "demo/web"),
        ("./web", "demo/web"),
        ("edge/web", "edge/web"),
        ("web.edge.svc.cluster.local", "edge/web"),
    ],
)
def test_a_gateway_is_named_with_its_namespace(written, meant):
    assert names.gateway(written, "demo") == meant


def test_a_service_has_its_full_name():
    key = Key(group="", kind="Service", namespace="demo", name="reviews")

    assert names.service_host(key) == "reviews.demo.svc.cluster.local"


NUMBERS = st.integers(0, 300).map(str) | st.sampled_from(["", "01", "1 ", "\uff11", "f"])


@given(st.lists(NUMBERS, max_size=6).map(".".join) | st.ip_addresses().map(str) | st.text())
@example("10.0.0.1\n")
def test_an_address_is_what_python_reads_as_one(written: str):
    try:
        ipaddress.ip_address(written)
    except ValueError:
        assert not names.is_address(written)
    else:
        assert names.is_address(written)
