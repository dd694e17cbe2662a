"""A case: objects as a user writes them, and what each of some proxies is sent for them.

``in/*.yaml`` are the objects (``in/mesh-config.yaml`` the mesh's settings), ``proxies.yaml`` says
who asks and what of the answer the case is about, ``out/PROXY.yaml`` is that answer, and
``status.yaml`` what the user is told about each object.
"""

from __future__ import annotations

import json
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from plait.base.query import Engine, Query
from plait.config import catalog, codec, mesh_config
from plait.config.ports import Change, Fault
from plait.mesh import checks, ir
from plait.mesh.placement import placement
from plait.xds import protos, subscriptions
from plait.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    HOSTS,
    LISTENER,
    ROUTES,
    Absent,
    Answer,
    Present,
)

TYPES = {
    "listeners": LISTENER,
    "routes": ROUTES,
    "clusters": CLUSTER,
    "endpoints": ENDPOINTS,
    "hosts": HOSTS,
}
CHECKS = {
    "VirtualService": checks.virtual_service,
    "Gateway": checks.gateway,
    "Sidecar": checks.sidecar,
    "Service": checks.host,
    "ServiceEntry": checks.host,
    "DestinationRule": checks.destination_rule,
    "PeerAuthentication": checks.peer_authentication,
    "Secret": checks.secret,
}


class Case:
    """One directory under tests/cases, compiled."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = Engine(catalog.tables())
        self.problems: list[Any] = []
        self.keys: list[Any] = []
        for path in sorted((directory / "in").glob("*.yaml")):
            if path.name == "mesh-config.yaml":
                self._configure(path)
            else:
                self._read(path)
        written = yaml.safe_load((directory / "proxies.yaml").read_text())
        self.proxies: dict[str, dict[str, Any]] = written

    def _configure(self, path: Path) -> None:
        settings, problems = mesh_config.read(path.read_text(), path.name)
        assert settings is not None, problems
        self.engine.commit([("MeshConfig", "mesh", settings)])

    def _read(self, path: Path) -> None:
        for document in codec.read_yaml(path.read_text(), path.name):
            assert not isinstance(document, Fault), document
            change = codec.decode(document)
            assert isinstance(change, Change), change
            self.problems += change.problems
            self.keys.append(change.key)
            if change.object:
                self.engine.commit([(catalog.table(change.key), change.key, change.object)])

    def placed(self, proxy: str) -> ir.Placement:
        """Where a proxy of proxies.yaml stands."""
        written = self.proxies[proxy]
        identity = ir.Identity(
            role=ir.Role(written.get("role", "sidecar")),
            namespace=written.get("namespace", "default"),
            labels=tuple(sorted(written.get("labels", {}).items())),
            addresses=tuple(written.get("addresses", ())),
            interception=ir.Interception(written.get("interception", "REDIRECT")),
            edge=written.get("edge", ""),
            addressing=ir.Addressing(written.get("addressing", "written")),
            certified=written.get("certified", False),
            revocations=written.get("revocations", False),
        )
        return self.engine.get(placement, identity)

    def resources(self, proxy: str) -> dict[str, dict[str, Any]]:
        """Everything that a proxy is sent: by type and name, as plain data."""
        where = self.placed(proxy)
        found: dict[str, dict[str, Any]] = {name: {} for name in TYPES}
        for kind in ("listeners", "clusters", "hosts"):
            for query, arguments in subscriptions.wildcard(TYPES[kind], where):
                for entry in self.engine.get(query, *arguments):
                    plain = decoded(self.engine.get(entry.query, *entry.args))
                    found[kind] |= {entry.name: plain} if plain else {}
        tables = sorted(set(_values(found["listeners"], "route_config_name")))
        named = [name for name, one in found["clusters"].items() if one.get("type") == "EDS"]
        for kind, names in (("routes", tables), ("endpoints", named)):
            for name in names:
                query, arguments = subscriptions.named(TYPES[kind], name, where)
                found[kind][name] = decoded(self.engine.get(query, *arguments))
        return found

    def shown(self, proxy: str) -> dict[str, Any]:
        """What the case is about: names of all listeners and tables, and `show` in full."""
        everything = self.resources(proxy)
        wanted: dict[str, list[str]] = self.proxies[proxy].get("show", {})
        shown: dict[str, Any] = {
            "names": {
                kind: sorted(everything[kind]) for kind in ("listeners", "routes", "clusters")
            }
        }
        for kind, patterns in wanted.items():
            shown[kind] = [
                everything[kind][name]
                for name in sorted(everything[kind])
                if any(fnmatch(name, pattern) for pattern in patterns)
            ]
        return shown

    def status(self) -> dict[str, list[str]]:
        """What the user is told, by object; reading it and checking it both count."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        notes = [*self.problems]
        for key in self.keys:
            if check := CHECKS.get(catalog.table(key)):
                notes += self.engine.get(_notes, check, key)
        for note in notes:
            found[str(note.subject)].add(str(note))
        return {subject: sorted(found[subject]) for subject in sorted(found)}


def _notes(q: Query, check: Any, key: Any) -> tuple[Any, ...]:
    return q.notes_of(check, key)


def decoded(answer: Answer) -> dict[str, Any]:
    """A resource as plain data; empty where there is none."""
    if isinstance(answer, Absent):
        return {}
    assert isinstance(answer, Present), answer
    message = protos.AnyMessage(type_url=answer.resource.type_url, value=answer.resource.body)
    plain: dict[str, Any] = protos.MessageToDict(message, preserving_proto_field_name=True)
    del plain["@type"]
    return plain


def _values(value: Any, field: str) -> list[str]:
    if isinstance(value, dict):
        own = [value[field]] if isinstance(value.get(field), str) else []
        return own + [found for part in value.values() for found in _values(part, field)]
    if isinstance(value, list):
        return [found for part in value for found in _values(part, field)]
    return []


def printed(value: Any) -> str:
    """YAML as the cases keep it."""
    # Maps have no order of their own; and what is shared would become an anchor.
    plain = json.loads(json.dumps(_ordered(value)))
    return yaml.safe_dump(plain, sort_keys=False, width=100, allow_unicode=True)


def _ordered(value: Any, *, anyhow: bool = False) -> Any:
    """Maps of the proto in key order, Structs to the bottom; messages keep that of their fields."""
    if isinstance(value, list):
        return [_ordered(part, anyhow=anyhow) for part in value]
    if not isinstance(value, dict):
        return value
    found = {
        name: _ordered(part, anyhow=anyhow or name in _STRUCTS) for name, part in value.items()
    }
    for name in _MAPS & found.keys():
        found[name] = dict(sorted(found[name].items()))
    return dict(sorted(found.items())) if anyhow else found


_STRUCTS = {"json_format", "filter_metadata"}
_MAPS = {"typed_extension_protocol_options"}
