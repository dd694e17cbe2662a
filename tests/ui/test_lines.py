"""The words in which the command line shows numbers, tables and proxies."""

from __future__ import annotations

from typing import Any

import click
import pytest

from plait.ui.cli import output, proxies

ID = "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"


def part(type_: str = "Cluster", **state: Any) -> dict[str, Any]:
    """How far a proxy is in one type, as the API says it."""
    fresh = {"synced": True, "behind": [], "refused": [], "since": None}
    return {"type": type_, **fresh, "error": "", "error_age": None, **state}


def proxy(*types: dict[str, Any], id_: str = ID) -> dict[str, Any]:
    return {"id": id_, "address": "10.0.0.7:4711", "types": list(types)}


def behind(*names: str, **state: Any) -> dict[str, Any]:
    return part(**{"synced": False, "behind": list(names), "since": 3.0, **state})


@pytest.mark.parametrize(
    ("types", "state", "details"),
    [
        ([], "SYNCED", ""),
        ([part(), part("Listener")], "SYNCED", ""),
        ([part(), behind("a")], "BEHIND", "Cluster: a"),
        ([behind(type_="Listener")], "BEHIND", "Listener: not asked yet"),
        ([behind("a", "b", "c", "d", "e")], "BEHIND", "Cluster: a, b, c and 2 more"),
        (
            [behind("a", "b", refused=["b"], error="no such filter", error_age=5.0)],
            "REFUSED",
            "Cluster: b; last refused 5s ago: no such filter",
        ),
        (
            [part(error="no such filter", error_age=300.0)],
            "SYNCED",
            "last refused 5m0s ago: no such filter",
        ),
        ([behind("a"), behind("r", type_="Listener")], "BEHIND", "Cluster: a; Listener: r"),
    ],
)
def test_a_proxy_is_synced_or_what_it_lacks_is_named(
    types: list[dict[str, Any]], state: str, details: str
):
    found = proxy(*types)

    assert (proxies.state(found), proxies.details(found)) == (state, details)


@pytest.mark.parametrize(
    ("id_", "name"),
    [(ID, "web-1.shop"), ("some-envoy", "some-envoy"), ("", "10.0.0.7:4711")],
)
def test_a_proxy_is_called_by_its_workload(id_: str, name: str):
    assert proxies.name(proxy(id_=id_)) == name


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0.4, "0s"),
        (119, "119s"),
        (192.9, "3m12s"),
        (7_199, "1h"),
        (171_000, "47h"),
        (172_800, "2d"),
    ],
)
def test_a_duration_has_one_or_two_units(seconds: float | None, shown: str):
    assert output.age(seconds) == shown


def test_columns_are_as_wide_as_what_stands_in_them():
    rows: list[list[Any]] = [["a", None, 1], ["longer", "", "x"]]

    assert output.table(["NAME", "HOSTS", "N"], rows).splitlines() == [
        "NAME     HOSTS    N",
        "a        <none>   1",
        "longer   <none>   x",
    ]


def test_later_rows_of_a_watch_have_no_header():
    assert output.table(["NAME"], [["a"]], head=False) == "a"


def test_columns_of_less_importance_are_shown_if_wide():
    page = {"columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Ip", "priority": 1}]}

    assert output.columns(page, wide=False) == ([0], ["NAME"])
    assert output.columns(page, wide=True) == ([0, 1], ["NAME", "IP"])


@pytest.mark.parametrize("form", ["table", "wide", "yaml", "json", "name", "jsonpath={.kind}"])
def test_every_form_is_taken(form: str):
    output.check(form)


@pytest.mark.parametrize("form", ["", "xml", "jsonpath", "custom-columns=A:.a"])
def test_no_other_form_is_taken(form: str):
    with pytest.raises(click.UsageError, match="there is no output"):
        output.check(form)


def test_whole_objects_keep_the_order_of_their_fields_and_every_letter():
    value = {"b": 1, "a": ["ä", None, True]}

    assert output.data(value, "yaml") == "b: 1\na:\n- ä\n- null\n- true"
    assert output.data(value, "json").startswith('{\n    "b": 1,\n    "a": [\n        "ä",')
    assert output.data(value, "jsonpath={.a[0]}") == "ä"
