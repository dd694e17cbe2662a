import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import plait
from plait.config import catalog, names, unenforced
from plait.config.catalog import Kind
from plait.config.kinds import core, destination_rule, discovery, secret, service_entry
from plait.config.kinds import virtual_service as vs
from plait.config.meta import Object

KINDS = list(catalog.KINDS.values())
EDGE = "plait.ui", "plait.app"  # entry points: they may do things when imported


def structs() -> Iterator[type[msgspec.Struct]]:
    for module in pkgutil.walk_packages(plait.__path__, "plait."):
        if not module.name.startswith(EDGE):
            importlib.import_module(module.name)
    todo = [msgspec.Struct]
    while todo:
        for each in todo.pop().__subclasses__():
            todo.append(each)
            if each.__module__.startswith("plait."):
                yield each


def row(table: str, spec: Any, name: str = "a", **metadata: Any) -> Object[Any]:
    return Object(key=catalog.KINDS[table].key("demo", name), spec=spec, **metadata)


def index(table: str, name: str, found: Object[Any]) -> tuple[Any, ...]:
    return tuple(catalog.KINDS[table].indexes[name](found))


def test_every_struct_is_frozen():
    assert [each for each in structs() if not each.__struct_config__.frozen] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
def test_a_kind_is_found_by_its_key_and_has_its_names(kind: Kind):
    key = kind.key("demo", "a")

    assert catalog.of(key) is kind
    assert catalog.table(key) == kind.table
    assert kind.plural == kind.plural.lower()
    assert key.namespace == ("demo" if kind.namespaced else "")


def test_no_two_kinds_share_a_name():
    written = [name for kind in KINDS for name in (kind.plural, kind.singular, *kind.short)]

    assert len(set(written)) == len(written)


def _bare(found: Any) -> Any:
    if isinstance(found, msgspec.inspect.UnionType):
        return _bare(found.types[0])
    return _bare(found.type) if isinstance(found, msgspec.inspect.Metadata) else found


@pytest.mark.parametrize(
    ("kind", "pattern"), [(kind, pattern) for kind in KINDS for pattern in kind.unenforced]
)
def test_what_is_not_enforced_is_a_field_of_the_kind(kind: Kind, pattern: str):
    steps, _ = unenforced.split(pattern)
    found: Any = msgspec.inspect.type_info(kind.spec)
    for step in steps:
        found = _bare(found)
        if step == "[]":
            assert isinstance(found, msgspec.inspect.VarTupleType), step
            found = found.item_type
        else:
            assert isinstance(found, msgspec.inspect.StructType), step
            found = {field.encode_name: field.type for field in found.fields}[step]


def test_a_service_is_filed_under_its_full_name_and_who_sees_it():
    spec = core.Service(selector={"app": "a"})
    hidden = row("Service", spec, annotations={"networking.istio.io/exportTo": "., other"})

    assert index("Service", "host", hidden) == ("a.demo.svc.cluster.local",)
    assert index("Service", "export", hidden) == ("demo", "other")
    assert index("Service", "export", row("Service", spec)) == ("*",)
    assert index("Service", "selected", hidden) == ("demo",)
    assert index("Service", "selected", row("Service", core.Service())) == ()


def test_an_entry_is_filed_under_each_host():
    spec = service_entry.ServiceEntry(hosts=("a.com", "*.b.com"), export_to=("~",))

    assert index("ServiceEntry", "host", row("ServiceEntry", spec)) == ("a.com", "*.b.com")
    assert index("ServiceEntry", "export", row("ServiceEntry", spec)) == ()


def test_a_virtual_service_is_filed_under_its_hosts_only_where_sidecars_use_it():
    mesh = row("VirtualService", vs.VirtualService(hosts=("reviews", "*.com")))
    edge = row("VirtualService", vs.VirtualService(hosts=("reviews",), gateways=("web",)))

    assert index("VirtualService", "host", mesh) == ("reviews.demo.svc.cluster.local", "*.com")
    assert index("VirtualService", "gateway", mesh) == (names.MESH,)
    assert index("VirtualService", "host", edge) == ()
    assert index("VirtualService", "gateway", edge) == ("demo/web",)


def test_a_match_binds_to_its_own_gateways_too():
    match = vs.HTTPMatchRequest(gateways=("edge/web",), source_labels={"app": "a"})
    found = row("VirtualService", vs.VirtualService(http=(vs.HTTPRoute(match=(match,)),)))

    assert index("VirtualService", "gateway", found) == (names.MESH, "edge/web")
    assert index("VirtualService", "source_labels", found) == (True,)


def test_a_rule_and_a_slice_are_filed_under_what_they_are_about():
    rule = row("DestinationRule", destination_rule.DestinationRule(host="reviews"))
    labels = {"kubernetes.io/service-name": "reviews"}
    endpoints = row("EndpointSlice", discovery.EndpointSlice(), labels=labels)

    assert index("DestinationRule", "host", rule) == ("reviews.demo.svc.cluster.local",)
    assert index("EndpointSlice", "service", endpoints) == (("demo", "reviews"),)


def test_printing_a_secret_shows_its_names_only():
    spec = secret.Secret(data={"a": b"hidden"}, string_data={"b": "hidden"})

    assert repr(row("Secret", spec)).count("hidden") == 0
    assert repr(spec) == "Secret(type='', names=['a', 'b'])"
    assert spec.values == {"a": b"hidden", "b": b"hidden"}


def test_the_engine_gets_tables_for_what_nobody_writes_too():
    assert set(catalog.tables()) >= {*catalog.KINDS, "Rejection", "MeshConfig", "Conflict"}
