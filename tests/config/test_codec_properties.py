import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plait.config import catalog, codec, mesh_config, shapes, validate, yaml_reader
from plait.config.catalog import Kind
from plait.config.document import Document
from plait.config.finding import Finding
from plait.config.mesh_config import MeshConfig
from plait.config.meta import Object
from plait.config.ports import Change, Fault
from tests.support import scale, values

FEW, MANY = scale.count(20, 500), scale.count(100, 5000)
KINDS = list(catalog.KINDS.values())
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def objects(kind: Kind) -> st.SearchStrategy[Object[Any]]:
    return st.builds(
        Object,
        key=st.just(kind.key("demo", "a")),
        spec=values.struct(kind.spec),
        labels=st.dictionaries(values.TEXT, values.TEXT, max_size=2),
        annotations=st.dictionaries(values.TEXT, values.TEXT, max_size=2),
        uid=values.TEXT,
        created=st.integers(1, 4 * 10**9).map(float),
        deleted=st.none() | st.integers(1, 4 * 10**9).map(float),
        finalizers=st.lists(values.TEXT, max_size=2).map(tuple),
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
@settings(max_examples=FEW, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_what_is_written_is_read_back_as_it_was(kind: Kind, data: st.DataObject):
    found = data.draw(objects(kind))
    document = json.loads(json.dumps(codec.encode(found, kind)))
    problems: list[Finding] = []

    body = document.get("spec", {}) if kind.body else document
    head = ("apiVersion", "kind", "metadata")
    bare = {name: part for name, part in body.items() if kind.body or name not in head}
    again = shapes.read(bare, kind.spec, (), problems)
    change = codec.decode(document)

    assert problems == []
    assert again == found.spec
    assert isinstance(change, Change)
    assert change.object is None or change.object == found
    assert not [each for each in change.problems if each.code in ("PLT1003", "PLT1005")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
@settings(max_examples=FEW, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_the_rules_never_raise(kind: Kind, data: st.DataObject):
    found = data.draw(objects(kind))

    for finding in validate.findings(found, ("spec",)):
        assert finding.message
        assert finding.hint


@settings(max_examples=MANY, deadline=None)
@given(text=st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
@example("\x00")
@example("\ufeff---\n...\n--- |\n")
@example("\ud800: \udfff")
@example("%TAG ! x\n---\n!a b")
def test_no_text_raises(text: str):
    for document in codec.read_yaml(text, "a.yaml"):
        if isinstance(document, Document):
            assert isinstance(codec.decode(document), Change | Fault)
        else:
            assert document.problem
    mesh_config.read(text, "mesh.yaml")


PIECES = st.sampled_from(
    [
        *("a", ":", " ", "\n", "- ", "[", "]", "{", "}", "&x ", "*x", "<<", "!!int ", "|", '"'),
        *("'", "#", "---\n", "...\n", "? ", "  ", "\t", "~", "0x", "kind: List\n", "items:\n", ","),
    ]
)


@settings(max_examples=MANY, deadline=None)
@given(pieces=st.lists(PIECES, max_size=25))
def test_no_text_that_looks_like_yaml_raises(pieces: list[str]):
    for document in codec.read_yaml("".join(pieces), "a.yaml"):
        assert isinstance(document, Document | Fault)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
@settings(max_examples=FEW, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_no_value_of_a_known_kind_raises(kind: Kind, data: st.DataObject):
    names = [each.encode_name for each in msgspec.structs.fields(kind.spec)]
    body = data.draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=4), JSON))
    metadata = {"name": "a", **data.draw(st.dictionaries(st.text(max_size=4), JSON))}
    document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}

    found = codec.decode({**document, kind.body: body} if kind.body else {**body, **document})

    assert isinstance(found, Change | Fault)


@settings(max_examples=MANY, deadline=None)
@given(value=st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "x"]), JSON))
def test_no_value_raises(value: dict[str, Any]):
    assert isinstance(codec.decode(value), Fault)


@settings(max_examples=MANY, deadline=None)
@given(config=values.struct(MeshConfig))
def test_the_settings_are_read_back_as_they_were(config: MeshConfig):
    text = json.dumps(shapes.write(config))
    read, problems = mesh_config.read(text, "mesh.yaml")

    assert {each.code for each in problems} <= {"PLT1006"}  # arbitrary texts are no trust domains
    assert read == (None if problems else config)


@settings(max_examples=MANY, deadline=None)
@given(value=st.dictionaries(st.text(max_size=5), JSON, min_size=1))
def test_json_is_read_as_json(value: dict[str, Any]):
    text = json.dumps(value)
    if any(word in text for word in ("NaN", "Infinity", "\\ud")):
        return
    (document,) = yaml_reader.read(text, "a.json")

    assert isinstance(document, Document)
    assert document.value == value or "<<" in value
