"""Server-side apply, as a pure step: what is merged, pruned, owned and refused."""

from __future__ import annotations

from typing import Any

import pytest

from plait.serve.api import apply, fields, ownership
from plait.serve.api.ownership import Entry
from plait.serve.api.status import StatusError
from tests.support.limits import within


def config_map(**data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "demo"},
        "data": data,
    }


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": list(ports)},
    }


def by(manager: str, operation: str = "Apply", subresource: str = "") -> Entry:
    return Entry(
        manager=manager,
        operation=operation,
        api_version="v1",
        subresource=subresource,
        time="2026-01-01T00:00:00Z",
    )


def applied(
    live: dict[str, Any] | None,
    config: dict[str, Any],
    manager: str = "ann",
    *,
    force: bool = False,
) -> dict[str, Any]:
    return apply.applied(config["kind"], live, config, by(manager), force=force)


def owners(document: dict[str, Any]) -> dict[str, list[str]]:
    return {
        entry.manager: sorted(fields.printed(path) for path in entry.paths)
        for entry in ownership.parse(document)
    }


def test_the_first_apply_owns_what_it_sets() -> None:
    found = applied(None, config_map(a="1"))

    assert owners(found) == {"ann": [".data.a"]}
    assert found["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:a": {}}}


def test_two_managers_own_what_each_of_them_set() -> None:
    found = applied(applied(None, config_map(a="1")), config_map(b="2"), "ben")

    assert found["data"] == {"a": "1", "b": "2"}
    assert owners(found) == {"ann": [".data.a"], "ben": [".data.b"]}


def test_what_a_manager_leaves_out_goes() -> None:
    found = applied(applied(None, config_map(a="1", b="2")), config_map(a="1"))

    assert found["data"] == {"a": "1"}
    assert owners(found) == {"ann": [".data.a"]}


def test_what_two_managers_set_alike_stays_until_both_leave_it_out() -> None:
    both = applied(applied(None, config_map(a="1", b="2")), config_map(a="1"), "ben")

    once = applied(both, config_map(b="2"))
    twice = applied(once, config_map(), "ben")

    assert once["data"] == {"a": "1", "b": "2"}
    assert twice["data"] == {"b": "2"}


def test_another_value_for_a_field_of_somebody_else_is_a_conflict_that_names_both() -> None:
    live = applied(None, config_map(a="1"))

    with pytest.raises(StatusError) as refused:
        applied(live, config_map(a="2"), "ben")

    assert refused.value.code == 409
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "ann": .data.a'
    assert refused.value.details == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "ann"',
                "field": ".data.a",
            }
        ]
    }


def test_several_conflicts_are_told_by_owner() -> None:
    live = applied(applied(None, config_map(a="1", b="1")), config_map(c="1"), "ben")

    with pytest.raises(StatusError) as refused:
        applied(live, config_map(a="2", b="2", c="2"), "eve")

    assert refused.value.message == (
        'Apply failed with 3 conflicts: conflicts with "ann":\n- .data.a\n- .data.b\n'
        'conflicts with "ben":\n- .data.c'
    )


def test_force_takes_the_field_over() -> None:
    found = applied(applied(None, config_map(a="1")), config_map(a="2"), "ben", force=True)

    assert found["data"] == {"a": "2"}
    assert owners(found) == {"ben": [".data.a"]}


def test_what_was_there_without_owners_belongs_to_before_first_apply() -> None:
    with pytest.raises(StatusError) as refused:
        applied(config_map(a="1"), config_map(a="2"))

    assert 'conflict with "before-first-apply" using v1: .data.a' in refused.value.message


def test_an_update_takes_what_it_changes() -> None:
    live = applied(None, config_map(a="1", b="2"))

    found = ownership.updated(
        "ConfigMap", live, {**live, "data": {"a": "9", "c": "3"}}, by("edit", "Update")
    )

    assert owners(found) == {"edit": [".data.a", ".data.c"]}


def test_an_update_that_changes_nothing_adds_no_owner() -> None:
    live = applied(None, config_map(a="1"))

    assert ownership.updated("ConfigMap", live, live, by("edit", "Update")) == live


def test_items_of_a_keyed_list_are_joined_by_their_keys() -> None:
    live = applied(None, service({"port": 80, "name": "http"}))

    found = applied(live, service({"port": 443, "name": "https"}), "ben")

    assert [port["port"] for port in found["spec"]["ports"]] == [80, 443]
    assert owners(found)["ben"] == [
        '.spec.ports[port=443,protocol="TCP"]',
        '.spec.ports[port=443,protocol="TCP"].name',
        '.spec.ports[port=443,protocol="TCP"].port',
    ]


def test_items_only_somebody_else_has_stay_before_their_successors() -> None:
    live = applied(None, service({"port": 1}, {"port": 2}, {"port": 3}, {"port": 4}), "bob")

    found = applied(live, service({"port": 4}, {"port": 2}, {"port": 5}))

    ports = [port["port"] for port in found["spec"]["ports"]]
    assert ports == [1, 4, 2, 3, 5]


def test_very_many_items_in_another_order_hold_nobody_up() -> None:
    ports = [{"port": number} for number in range(60_000)]
    live = applied(None, service(*ports))

    with within(30):  # one look at all others for each would take a minute
        found = applied(live, service(*reversed(ports)))

    assert found["spec"]["ports"] == ports[::-1]


def test_an_item_that_nobody_wants_any_more_goes_whole() -> None:
    live = applied(None, service({"port": 80, "name": "http"}, {"port": 81, "name": "x"}))

    found = applied(live, service({"port": 81, "name": "x"}))

    assert found["spec"]["ports"] == [{"port": 81, "name": "x"}]


def test_lists_of_custom_resources_are_replaced_whole() -> None:
    def route(*hosts: str) -> dict[str, Any]:
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "v"},
            "spec": {"hosts": list(hosts)},
        }

    found = applied(applied(None, route("a", "b")), route("c"))

    assert found["spec"]["hosts"] == ["c"]


def test_the_eleventh_updater_makes_the_oldest_entries_one() -> None:
    live = config_map()
    document: dict[str, Any] | None = None
    for number in range(12):
        data = {f"k{n}": "v" for n in range(number + 1)}
        entry = Entry(
            manager=f"m{number:02}",
            operation="Update",
            api_version="v1",
            time=f"2026-01-01T00:00:{number:02}Z",
        )
        base = document or live
        document = ownership.updated("ConfigMap", document, {**base, "data": data}, entry)

    assert document is not None
    entries = ownership.parse(document)
    assert len(entries) == 10
    assert entries[0].manager == "ancient-changes"


@pytest.mark.parametrize(
    "paths",
    [
        [("f:a",), ("f:a", "f:b")],
        [("f:l", 'k:{"name":"x"}'), ("f:l", 'k:{"name":"x"}', "f:v")],
        [("f:s", 'v:"one"')],
    ],
)
def test_a_set_of_fields_is_read_as_it_was_written(paths: list[tuple[str, ...]]) -> None:
    assert set(fields.parse(fields.written(paths))) == set(paths)
