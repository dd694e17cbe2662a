"""The three kinds of patch that are no apply."""

from __future__ import annotations

from typing import Any

import pytest

from plait.serve.api import patch
from plait.serve.api.status import StatusError
from tests.support.limits import within


@pytest.mark.parametrize(
    ("document", "change", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_follow_the_rfc(document: Any, change: Any, expected: Any) -> None:
    assert patch.merge(document, change) == expected


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/b"}], {"a": 1}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 5}], {"a": [5, 2]}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        ({"a~b": {"c/d": 1}}, [{"op": "test", "path": "/a~0b/c~1d", "value": 1}], None),
    ],
)
def test_json_patches_follow_the_rfc(document: Any, operations: Any, expected: Any) -> None:
    assert patch.operate(document, operations) == (expected or document)


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "test", "path": "/a", "value": 2}],
        [{"op": "remove", "path": "/b"}],
        [{"op": "replace", "path": "/b/c", "value": 1}],
        [{"op": "add", "path": "/l/7", "value": 1}],
        [{"op": "remove", "path": f"/l/{'9' * 5000}"}],
    ],
)
def test_a_json_patch_that_does_not_fit_is_422_and_changes_nothing(operations: Any) -> None:
    document = {"a": 1, "l": [1]}

    with pytest.raises(StatusError) as refused:
        patch.operate(document, [{"op": "replace", "path": "/a", "value": 1}, *operations])

    assert refused.value.code == 422
    assert document == {"a": 1, "l": [1]}


@pytest.mark.parametrize("operations", [{}, "x", [1], [{"op": "dance", "path": "/a"}], [{}]])
def test_what_is_no_json_patch_is_400(operations: Any) -> None:
    with pytest.raises(StatusError) as refused:
        patch.operate({"a": 1}, operations)

    assert refused.value.code == 400


def test_a_json_patch_may_be_tried_again() -> None:
    operations = [
        {"op": "add", "path": "/l", "value": []},
        {"op": "add", "path": "/l/-", "value": 1},
    ]

    tries = [patch.operate({}, operations) for _ in range(2)]

    assert tries == [{"l": [1]}, {"l": [1]}]


def test_a_json_patch_makes_nothing_that_is_too_large() -> None:
    doubled = [{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(10_000)]

    with pytest.raises(StatusError) as refused:
        patch.operate({"a": "b"}, doubled)

    assert refused.value.code == 413


@pytest.mark.parametrize("last", [[], [{"op": "copy", "from": "/a", "path": "/c"}]])
def test_a_json_patch_makes_nothing_that_is_nested_too_deep(last: Any) -> None:
    deeper = [
        {"op": "add", "path": "/b", "value": {}},
        {"op": "move", "from": "/a", "path": "/b/a"},
        {"op": "move", "from": "/b", "path": "/a"},
    ]

    with pytest.raises(StatusError) as refused:
        patch.operate({"a": {}}, [*deeper * 3000, *last])

    assert refused.value.code == 400


def test_a_strategic_patch_joins_containers_by_name() -> None:
    document = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}
    change = {"spec": {"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}}

    found = patch.strategic("Pod", document, change)

    assert found["spec"]["containers"] == [
        {"name": "a", "image": "x"},
        {"name": "b", "image": "z"},
        {"name": "c", "image": "w"},
    ]


def test_strategic_directives_delete_replace_and_order() -> None:
    document = {"spec": {"ports": [{"port": 1}, {"port": 2}, {"port": 3}]}, "x": {"a": 1}}
    change = {
        "spec": {
            "ports": [{"port": 2, "$patch": "delete"}],
            "$setElementOrder/ports": [{"port": 3}, {"port": 1}],
        },
        "x": {"$patch": "replace", "b": 2},
    }

    found = patch.strategic("Service", document, change)

    assert found == {"spec": {"ports": [{"port": 3}, {"port": 1}]}, "x": {"b": 2}}


def test_a_strategic_patch_keeps_what_has_the_same_key_twice_and_adds_what_it_deleted() -> None:
    document = {"spec": {"ports": [{"port": 1}, {"port": 2}, {"port": 2, "protocol": "UDP"}]}}
    change = {"spec": {"ports": [{"port": 2, "name": "a"}, {"port": 1, "$patch": "delete"}]}}
    change["spec"]["ports"].append({"port": 1, "name": "b"})

    found = patch.strategic("Service", document, change)

    assert found["spec"]["ports"] == [
        {"port": 2, "name": "a"},
        {"port": 2, "protocol": "UDP"},
        {"port": 1, "name": "b"},
    ]


MANY = range(60_000)  # items, of which one look at all others for each would take minutes
PORTS = [{"port": number} for number in MANY]


@pytest.mark.parametrize(
    ("live", "change"),
    [
        ({}, {"spec": {"ports": PORTS}}),
        ({"spec": {"ports": PORTS}}, {"spec": {"$setElementOrder/ports": PORTS[::-1]}}),
        (
            {"metadata": {"finalizers": [f"a/{number}" for number in MANY]}},
            {"metadata": {"finalizers": [f"b/{number}" for number in MANY]}},
        ),
    ],
    ids=["new items", "an order", "a set"],
)
def test_a_strategic_patch_of_very_many_items_holds_nobody_up(live: Any, change: Any) -> None:
    with within(30):
        assert patch.strategic("Service", live, change)


@pytest.mark.parametrize(
    "name", ["$retainKeys", "$deleteFromPrimitiveList/l", "$setElementOrder/l"]
)
def test_a_directive_of_another_type_has_no_effect(name: str) -> None:
    assert patch.strategic("Pod", {"l": [1]}, {name: 7}) == {"l": [1]}


def test_a_strategic_patch_takes_members_out_of_a_set() -> None:
    document = {"metadata": {"finalizers": ["a", "b"]}}
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}

    assert patch.strategic("Pod", document, change)["metadata"]["finalizers"] == ["b", "c"]


def test_an_item_without_its_key_is_400() -> None:
    with pytest.raises(StatusError) as refused:
        patch.strategic("Pod", {}, {"spec": {"containers": [{"image": "x"}]}})

    assert refused.value.code == 400
