"""A mesh as text: objects in YAML in an engine, and the proxies that look at it."""

from __future__ import annotations

from typing import Any

from plait.base.query import Engine, Memo
from plait.config import catalog, codec
from plait.config.mesh_config import MeshConfig
from plait.config.meta import Key
from plait.config.ports import Change
from plait.mesh import ir
from plait.mesh.placement import placement
from plait.xds import protos
from plait.xds.resource import Answer, Present


def changes(text: str) -> list[Change]:
    """The objects of a YAML text, in namespace ``demo`` where they name none."""
    found = []
    for document in codec.read_yaml(text, "test.yaml"):
        change = codec.decode(document, default_namespace="demo")  # type: ignore[arg-type]
        assert isinstance(change, Change), change
        assert change.object is not None, [str(problem) for problem in change.problems]
        found.append(change)
    return found


class Mesh:
    """An engine with the objects of YAML texts."""

    def __init__(self, *texts: str, settings: MeshConfig | None = None) -> None:
        self.engine = Engine(catalog.tables())
        if settings:
            self.engine.commit([("MeshConfig", "mesh", settings)])
        self.apply(*texts)

    def apply(self, *texts: str) -> set[Any]:
        """Write the objects; calls that are watched and whose value changed."""
        rows = [
            (catalog.table(change.key), change.key, change.object)
            for text in texts
            for change in changes(text)
        ]
        return set(self.engine.commit(rows))

    def delete(self, key: Key) -> set[Any]:
        """Take an object away."""
        return set(self.engine.commit([(catalog.table(key), key, None)]))

    def placed(self, **identity: Any) -> ir.Placement:
        """Where a proxy stands: a sidecar in ``demo`` where nothing else is said."""
        labels = tuple(sorted(identity.pop("labels", {}).items()))
        given: dict[str, Any] = {
            "role": ir.Role.SIDECAR,
            "namespace": "demo",
            "labels": labels,
        } | identity
        return self.engine.get(placement, ir.Identity(**given))

    def view(self, **identity: Any) -> ir.View:
        """The outbound side of a placement."""
        return self.placed(**identity).view

    def notes(self, query: Any, *args: Any) -> list[str]:
        """Codes of what a call reported, and those it is made of."""
        self.engine.watch(query, *args)
        found: set[Any] = set()
        todo = [self.engine.why(query, *args)]
        seen = set()
        while todo:
            memo = todo.pop()
            if id(memo) not in seen:
                seen.add(id(memo))
                found |= set(memo.notes)
                todo += [read for read in memo.reads if isinstance(read, Memo)]
        return sorted({f"{note.code} {note.subject} {note.path}".strip() for note in found})


def gateway(labels: dict[str, str] | None = None) -> dict[str, Any]:
    """Identity of a gateway's proxy."""
    return {
        "role": ir.Role.GATEWAY,
        "namespace": "istio-system",
        "labels": labels or {"istio": "ingressgateway"},
    }


def decoded(answer: Answer) -> dict[str, Any]:
    """A resource as plain data, with the names of the proto."""
    assert isinstance(answer, Present), answer
    message = protos.AnyMessage(type_url=answer.resource.type_url, value=answer.resource.body)
    plain: dict[str, Any] = protos.MessageToDict(message, preserving_proto_field_name=True)
    return plain


def service(name: str, *ports: str, namespace: str = "demo", ip: str = "", created: int = 0) -> str:
    """A Service in YAML; a port is ``NAME:NUMBER``, ``:NUMBER`` for one without a name."""
    written = "".join(
        f"\n  - {{port: {port.split(':')[1]}"
        + (f", name: {port.split(':')[0]}}}" if port.split(":")[0] else "}")
        for port in ports
    )
    address = f"\n  clusterIP: {ip!r}" if ip else ""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{stamp(created)}'}}
spec:
  selector: {{app: {name}}}{address}
  ports:{written}
"""


def stamp(seconds: int) -> str:
    """A creation time; greater is younger."""
    return f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"


def virtual_service(name: str, body: str, *, namespace: str = "demo", created: int = 0) -> str:
    """A VirtualService in YAML; `body` is its spec."""
    indented = "\n".join(f"  {line}" for line in body.strip("\n").splitlines())
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{stamp(created)}'}}
spec:
{indented}
"""


def key(kind: str, name: str, namespace: str = "demo") -> Key:
    """The key of an object."""
    return catalog.KINDS[kind].key(namespace, name)
