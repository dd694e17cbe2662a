"""What each port of the mesh asks of its callers, and who still calls in plain text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from plait.base import place as places
from plait.base.place import Place, PlainCaller, PlainCallers
from plait.base.query import Failed
from plait.config.catalog import KINDS
from plait.config.meta import Key
from plait.config.store import Store
from plait.mesh import ir, proxyless, security, visibility
from plait.serve import named
from plait.serve.session import Session

_POD = KINDS["Pod"]
_Names = Mapping[str, Sequence[tuple[float, str]]]


class Caller(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who calls in plain text.

    Attributes:
        name: the Pod at the address, as ``namespace/name``; empty: none is known there.
        since, ago: seconds since the first call that was seen, and since the last.
        calls: requests, or connections where the port has no requests.
    """

    address: str
    name: str
    since: float
    ago: float
    calls: int


class Port(Struct, frozen=True, kw_only=True, rename="camel"):
    """A port of a workload.

    Attributes:
        number: on the workload.
        protocol: as declared; empty: it is detected, or no host names the port.
        mode: what it takes; `policy`: what says so, empty: the default.
        proxies: how many of the workload's proxies are connected; 0: it has none, and takes plain
            text alone.
        watched: seconds for which callers were seen without a gap; None: some proxy does not tell.
    """

    namespace: str
    workload: str
    number: int
    protocol: str
    mode: str
    policy: str
    proxies: int
    watched: float | None
    callers: tuple[Caller, ...]


class _Seen(Struct, frozen=True, kw_only=True):
    """One proxy, and what it tells."""

    inbound: ir.Inbound
    note: PlainCallers | None


def page(store: Store, sessions: Iterable[Session], place: Place | None) -> tuple[Port, ...]:
    """Every port of workloads with an identity whose proxies are connected, by name and number.

    After them those of servers that have no proxy.
    """
    found: defaultdict[tuple[str, str], list[_Seen]] = defaultdict(list)
    for session in sessions:
        inbound = session.placement.inbound if session.placement else None
        if session.node is None or inbound is None or not inbound.certified:
            continue
        pod = named.pod(session.node.id, inbound.namespace)
        note = _note(place, pod) if place else None
        found[inbound.namespace, named.workload(store, pod)].append(
            _Seen(inbound=inbound, note=note)
        )
    names = _names(store)
    guarded = (p for which in sorted(found) for p in _ports(store, which, found[which], names))
    return (*guarded, *_proxyless(store, found))


def _note(place: Place, pod: Key) -> PlainCallers | None:
    proxy = places.identifier(pod.namespace, pod.name)
    if not places.is_identifier(proxy):  # a node's id may be anything
        return None
    return places.read(place.plaintext(proxy), PlainCallers)


def _ports(
    store: Store, which: tuple[str, str], seen: list[_Seen], names: _Names
) -> Iterator[Port]:
    """The ports of one workload; `which` is its namespace and name."""
    namespace, workload = which
    now = store.clock.now()
    declared = {port.number: port for one in seen for port in one.inbound.ports}
    told = [caller for one in seen if one.note for caller in one.note.callers]
    gaps = [None if one.note is None else now - one.note.since for one in seen]
    watched = None if None in gaps else min((gap for gap in gaps if gap is not None), default=None)
    policies = seen[0].inbound.policies
    for number in sorted(declared.keys() | {caller.port for caller in told}):
        decision = store.engine.get(security.decision, policies, number)
        yield Port(
            namespace=namespace,
            workload=workload,
            number=number,
            protocol=declared[number].protocol.value if number in declared else "",
            mode=decision.mode.value,
            policy=str(decision.by or ""),
            proxies=len(seen),
            watched=watched,
            callers=_callers(names, [one for one in told if one.port == number], now),
        )


def _proxyless(store: Store, known: Container[tuple[str, str]]) -> list[Port]:
    """Ports of servers without a proxy; `known` are the workloads that have one."""
    records = [one for table in visibility.OWNERS for one in store.records(table)]
    tried = [store.engine.attempt(proxyless.ports, record.key) for record in records]
    found = {
        (one.namespace, one.workload, one.number): one
        for ports in tried
        if not isinstance(ports, Failed)
        for one in ports
        if (one.namespace, one.workload) not in known
    }
    return [
        Port(
            namespace=one.namespace,
            workload=one.workload,
            number=one.number,
            protocol=one.protocol.value,
            mode=one.asked.mode.value,
            policy=str(one.asked.by or ""),
            proxies=0,
            watched=None,
            callers=(),
        )
        for _, one in sorted(found.items())
    ]


def _callers(names: _Names, told: list[PlainCaller], now: float) -> tuple[Caller, ...]:
    """The callers of all replicas together, the latest first."""
    together: dict[str, list[PlainCaller]] = {}
    for one in told:
        together.setdefault(one.address, []).append(one)
    found = []
    for address, group in together.items():
        last = max(one.last for one in group)
        found.append(
            Caller(
                address=address,
                name=_name(names.get(address, ()), last),
                since=now - min(one.first for one in group),
                ago=now - last,
                calls=sum(one.calls for one in group),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.ago, one.address)))


def _name(pods: Sequence[tuple[float, str]], last: float) -> str:
    """The newest of an address that was there at the last call: addresses are used again."""
    return next((name for created, name in sorted(pods, reverse=True) if created <= last), "")


def _names(store: Store) -> _Names:
    """Pods by address, each with the time at which it was made."""
    found: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for record in store.records(_POD.table):
        pod = record.object
        if pod is not None and pod.spec.status is not None:
            found[pod.spec.status.pod_ip].append((pod.created, record.key.path))
    return found
