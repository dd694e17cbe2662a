"""A mesh of toy resources in a real engine, and clients whose streams are driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct, structs

from plait.base.digest import digest
from plait.base.query import Call, Drained, Engine, Query
from plait.config.kinds.observed import Rejection
from plait.mesh import ir
from plait.serve.feeds import Hub
from plait.serve.topics import SharedTopic
from plait.xds import protos
from plait.xds.admission import admitted
from plait.xds.channel import Topic
from plait.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    Absent,
    Answer,
    Child,
    Named,
    Pending,
    Present,
    Resource,
    assembled,
    leaf,
)
from plait.xds.stream import Accepted, Refused, Send, Stream
from plait.xds.wire import Request

PLACE = ir.Placement(view=ir.View(role=ir.Role.SIDECAR, namespace="demo"))
OTHER = ir.Placement(view=ir.View(role=ir.Role.SIDECAR, namespace="other"))
SHORT = {"CDS": CLUSTER, "EDS": ENDPOINTS, "LDS": LISTENER, "RDS": ROUTES}
URLS = {url: name for name, url in SHORT.items()}
Said = tuple[str, tuple[str, ...], tuple[str, ...]]


class Item(Struct, frozen=True, kw_only=True):
    """A resource; `text` is its content, or of a route table the contents of its virtual hosts."""

    type_url: str
    name: str
    text: str = ""
    hosts: tuple[str, ...] = ()
    pending: bool = False
    tables: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ("demo",)

    @property
    def key(self) -> tuple[str, str]:
        return self.type_url, self.name


def item(kind: str, name: str, text: str = "1", **fields: Any) -> Item:
    """An item; `kind` is CDS, EDS, LDS or RDS."""
    return Item(type_url=SHORT[kind], name=name, text=text, **fields)


def names(q: Query, type_url: str, namespace: str) -> tuple[Named, ...]:
    """What there is of a type in a namespace."""
    keys = q.keys("Item", "place", (type_url, namespace))
    return tuple(Named(name=key[1], query=answer, args=key) for key in keys)


def answer(q: Query, type_url: str, name: str) -> Answer:
    """The resource of an item."""
    found: Item | None = q.row("Item", (type_url, name))
    if found is None:
        return Absent()
    return Pending() if found.pending else Present(resource=_resource(q, found))


def placed(q: Query, identity: ir.Identity) -> ir.Placement:
    """Where a proxy stands: in its namespace, or where its row says."""
    moved: str | None = q.row("Move", identity.namespace)
    return OTHER if (moved or identity.namespace) == "other" else PLACE


class Plan:
    """Subscriptions of the toy mesh."""

    @staticmethod
    def wildcard(type_url: str, placement: ir.Placement) -> tuple[Call, ...]:
        return ((names, (type_url, placement.view.namespace)),)

    @staticmethod
    def named(type_url: str, name: str, placement: ir.Placement) -> Call:
        return answer, (type_url, name)


TABLES: dict[str, dict[str, Callable[[Any], Iterable[Any]]]] = {
    "Item": {"place": lambda row: [(row.type_url, one) for one in row.namespaces]},
    "Move": {},
    "Rejection": {"all": lambda _: (True,)},
}


class Mesh:
    """Toy items in an engine, behind as much of a store as the hub asks for."""

    def __init__(self, *items: Item) -> None:
        self.engine = Engine(TABLES)
        self.revision = 0
        self._listeners: list[Callable[[Drained, int], None]] = []
        self._soon: list[Call] = []
        self.hub = Hub(self, placed, Plan)  # type: ignore[arg-type]
        self.clients: list[Client] = []
        self.put(*items)

    def listen(self, callback: Callable[[Drained, int], None]) -> Callable[[], None]:
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def watch_soon(self, query: Any, *args: Any) -> None:
        self._soon.append((query, args))

    def unwatch(self, query: Any, *args: Any) -> None:
        if (query, args) in self._soon:
            self._soon.remove((query, args))
        else:
            self.engine.unwatch(query, *args)

    def client(self, *, delta: bool = True, placement: ir.Placement = PLACE) -> Client:
        """A client that has said nothing yet."""
        client = Client(self, placement, delta=delta)
        self.clients.append(client)
        return client

    def put(self, *items: Item) -> dict[int, list[Said]]:
        """Write items; what each client is sent."""
        return self.write(*(("Item", item.key, item) for item in items))

    def drop(self, *keys: tuple[str, str]) -> dict[int, list[Said]]:
        """Take items away, named by kind and name."""
        return self.write(*(("Item", (SHORT[kind], name), None) for kind, name in keys))

    def reject(self, *rows: Rejection) -> dict[int, list[Said]]:
        return self.write(*(("Rejection", row.digest, row) for row in rows))

    def write(self, *changes: Any) -> dict[int, list[Said]]:
        """Commit changes; what each client is sent, by its number."""
        self.revision += 1
        self.engine.apply(changes)
        self.drain()
        return {number: client.looked() for number, client in enumerate(self.clients)}

    def drain(self) -> None:
        """Work out everything that is watched."""
        done = False
        while self._soon or not done:
            for query, args in self._soon:
                self.engine.watch_soon(query, *args)
            self._soon.clear()
            drained = self.engine.drain()
            done = drained.done
            for listener in self._listeners:
                listener(drained, self.revision)


class Client:
    """A stream without a transport: what it is told, and what it says."""

    def __init__(self, mesh: Mesh, placement: ir.Placement, *, delta: bool) -> None:
        self.mesh = mesh
        self.delta = delta
        self.now = 100.0
        self.stream = Stream(_Topics(mesh.hub, placement, self), delta=delta)
        self.nonces: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.refusals: list[Refused] = []
        self.sent: list[bytes] = []
        self._woken = False
        self._wanted: dict[str, tuple[str, ...]] = {}

    def wake(self) -> None:
        self._woken = True

    def ask(
        self,
        kind: str,
        *wanted: str,
        drop: tuple[str, ...] = (),
        initial: dict[str, str] | None = None,
    ) -> list[Said]:
        """Subscribe (delta: to more names), and let the engine work; what is sent."""
        url = SHORT[kind]
        self._wanted[url] = wanted
        nonce = "" if self.delta else self.nonces.get(url, "")
        return self.say(
            Request(
                type_url=url,
                names=frozenset(wanted),
                unsubscribed=frozenset(drop),
                initial=initial or {},
                nonce=nonce,
            )
        )

    def ack(self, kind: str) -> list[Said]:
        """Acknowledge the last response of a type."""
        url = SHORT[kind]
        wanted = () if self.delta else self._wanted[url]
        return self.say(Request(type_url=url, nonce=self.nonces[url], names=frozenset(wanted)))

    def nack(self, kind: str, text: str = "no") -> list[Said]:
        """Refuse the last response of a type."""
        url = SHORT[kind]
        return self.say(Request(type_url=url, nonce=self.nonces[url], error=text))

    def say(self, request: Request) -> list[Said]:
        """Send a request; what comes back until the engine is idle."""
        said = self._told(self.stream.on_request(request, self.now))
        self.mesh.drain()
        return said + self.looked()

    def sync(self, *first: Said) -> list[Said]:
        """Acknowledge everything until nothing comes; all that came, with `first`."""
        said = list(first)
        place = 0
        while place < len(said):
            said += self.ack(said[place][0])
            place += 1
        return said

    def looked(self) -> list[Said]:
        """What the stream sends after a change, if it was woken."""
        if not self._woken:
            return []
        self._woken = False
        return self._told(self.stream.on_changed(self.now))

    def wait(self, seconds: float) -> list[Said]:
        """Let time pass."""
        self.now += seconds
        return self._told(self.stream.on_tick(self.now))

    def move(self, placement: ir.Placement) -> list[Said]:
        """Stand somewhere else."""
        topics = _Topics(self.mesh.hub, placement, self)
        said = self._told(self.stream.on_moved(topics, self.now))
        self.mesh.drain()
        return said + self.looked()

    @property
    def delivered(self) -> int:
        """The newest revision that was acknowledged."""
        return self.mesh.hub.revision(self.stream.acknowledged)

    def _told(self, actions: Iterable[Any]) -> list[Said]:
        said = []
        for action in actions:
            match action:
                case Send(type_url=url, data=data):
                    self.sent.append(data)
                    said.append(self._read(url, data))
                case Accepted(payload=payload):
                    payload.accepted = True
                    for name, entry in payload.entries.items():
                        entry.accepted = payload.resources[name]
                case Refused():
                    self.refusals.append(action)
                case _:
                    raise AssertionError(action)
        return said

    def _read(self, url: str, data: bytes) -> Said:
        if not self.delta:
            state = protos.DiscoveryResponse.FromString(data)
            self.nonces[url] = state.nonce
            return URLS[url], tuple(_named(url, one.value) for one in state.resources), ()
        response = protos.DeltaDiscoveryResponse.FromString(data)
        assert response.type_url == url
        self.nonces[url] = response.nonce
        held = self.versions.setdefault(url, {})
        held.update({one.name: one.version for one in response.resources})
        for name in response.removed_resources:
            held.pop(name, None)
        sent = tuple(one.name for one in response.resources)
        return URLS[url], sent, tuple(response.removed_resources)


class _Topics:
    def __init__(self, hub: Hub, placement: ir.Placement, client: Client) -> None:
        self._hub = hub
        self._placement = placement
        self._client = client

    def topic(self, type_url: str, names: frozenset[str], *, wildcard: bool) -> SharedTopic:
        topic = self._hub.topic(self._placement, type_url, names, wildcard=wildcard)
        topic.watchers.add(self._client)
        return topic

    def leave(self, topic: Topic) -> None:
        assert isinstance(topic, SharedTopic)
        topic.watchers.discard(self._client)
        if not topic.watchers:
            self._hub.leave(topic)


def child(name: str, text: str) -> Child:
    """A virtual host whose content is `text`."""
    body = protos.encode(protos.VirtualHost(name=name, domains=[text]))
    return Child(name=name, digest=digest(body), body=body)


def table(name: str, *hosts: str) -> Resource:
    """A route table; a host is written ``name=content``."""
    children = tuple(child(*host.split("=")) for host in hosts)
    frame = protos.encode(protos.RouteConfiguration(name=name))
    return assembled(ROUTES, name, frame, 2, children)


def _resource(q: Query, found: Item) -> Resource:
    if found.type_url == ROUTES and found.hosts:
        whole = table(found.name, *found.hosts)
        kept = tuple(
            one
            for one in (admitted(q, c, child(c.name, "503")) for c in whole.children)
            if one is not None
        )
        return assembled(ROUTES, found.name, whole.frame, 2, kept)
    body = protos.encode(_message(found))
    made = leaf(found.type_url, Child(name=found.name, digest=digest(body), body=body))
    return structs.replace(made, tables=found.tables)


def _message(found: Item) -> Any:
    if found.type_url == CLUSTER:
        kind = protos.Cluster.EDS if "static" not in found.text else protos.Cluster.STATIC
        return protos.Cluster(name=found.name, type=kind, alt_stat_name=found.text)
    if found.type_url == ENDPOINTS:
        load = protos.ClusterLoadAssignment(cluster_name=found.name)
        load.endpoints.add().locality.zone = found.text
        return load
    if found.type_url == LISTENER:
        return protos.Listener(name=found.name, stat_prefix=found.text)
    return protos.RouteConfiguration(name=found.name, request_headers_to_remove=[found.text])


def _named(url: str, body: bytes) -> str:
    if url == ENDPOINTS:
        return str(protos.ClusterLoadAssignment.FromString(body).cluster_name)
    classes = {
        CLUSTER: protos.Cluster,
        LISTENER: protos.Listener,
        ROUTES: protos.RouteConfiguration,
    }
    return str(classes[url].FromString(body).name)
