"""What the API shows beside the objects: read from the store, the engine and the streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import structs

from plait.base.place import Place
from plait.base.query import Call, Failed
from plait.config.catalog import KINDS
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds.observed import Rejection
from plait.config.meta import Key
from plait.config.ports import Condition
from plait.config.record import Record
from plait.config.store import Store
from plait.mesh import explain, security, status
from plait.serve import encryption, mtls, named
from plait.serve.ads import Ads
from plait.serve.session import ProxyState, Session
from plait.serve.standings import Standings
from plait.serve.transitions import Transitions
from plait.xds import protos, subscriptions
from plait.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    Present,
    Resource,
)

PARTS = {"clusters": CLUSTER, "endpoints": ENDPOINTS, "listeners": LISTENER, "routes": ROUTES}
"""What of a proxy's configuration can be shown, by the words of the CLI."""
TYPES = {
    **{part.removesuffix("s"): url for part, url in PARTS.items()},
    **PARTS,
    "extension": EXTENSION,
}
_MESSAGES = {
    CLUSTER: protos.Cluster,
    ENDPOINTS: protos.ClusterLoadAssignment,
    LISTENER: protos.Listener,
    ROUTES: protos.RouteConfiguration,
    EXTENSION: protos.TypedExtensionConfig,
}


class MeshPages:
    """The pages of a control plane; quick to ask, worked out by nobody but the engine."""

    def __init__(self, store: Store, ads: Ads, alarms: Callable[[], Sequence[str]] = tuple) -> None:
        self._alarms = alarms
        self._store = store
        self._ads = ads
        self._standings = Standings(store, ads)
        self._transitions = Transitions()

    # Objects

    def conditions(self, key: Key) -> Sequence[Condition]:
        """What holds for an object now: Accepted, Resolved, Delivered and, if so, Rejected."""
        record = self._store.record(key)
        if record is None or key.kind not in status.CHECKS:
            return ()
        standing = self._standing(key)
        found = [_accepted(record), _resolved(standing.findings), self._delivered(record)]
        if standing.rejections:
            found.append(_rejected(standing))
        return self._transitions.dated(record, found, self._store.clock.now())

    def follow_conditions(self, changed: Callable[[Key], None]) -> Callable[[], None]:
        """Call back with each object whose conditions may have changed, until stopped."""
        return self._standings.follow(changed)

    def _standing(self, key: Key) -> status.Standing:
        """How an object stands, with the queries that read it and raise (PLT9001)."""
        engine = self._store.engine
        found = engine.attempt(status.standing, key)
        standing = status.Standing() if isinstance(found, Failed) else found
        if key.kind == security.TABLE:
            met = standing.findings + tuple(self._met(key))
            standing = structs.replace(standing, findings=met)
        errors = engine.failures()
        if not errors:
            return standing
        raised = {
            str(e): e
            for call, e in errors.items()
            if key in explain.objects(engine.why(call[0], *call[1]))
        }
        ours = tuple(_internal(key, error) for error in raised.values())
        return structs.replace(standing, findings=ours + standing.findings)

    def _met(self, key: Key) -> Iterator[Diagnostic]:
        """What connected proxies without an identity find wrong with a policy."""
        placed = (one.placement.inbound for one in self._ads.sessions() if one.placement)
        for inbound in dict.fromkeys(one for one in placed if one and not one.certified):
            found = self._store.engine.attempt(status.found_inbound, inbound)
            if not isinstance(found, Failed):
                yield from (one for one in found if one.subject == key)

    def _delivered(self, record: Record) -> Condition:
        progress = self._standings.progress()
        if not progress:
            return _condition("Delivered", "Unknown", "NoProxies", "no proxy is connected")
        late = [name for revision, name in progress if revision < record.revision]
        have = len(progress) - len(late)
        message = f"revision {record.revision}: {have} of {len(progress)} proxies acknowledged"
        if late:
            more = f" and {len(late) - 3} more" if len(late) > 3 else ""
            message += f"; not yet: {', '.join(late[:3])}{more}"
        return _condition(
            "Delivered", str(not late), "Pending" if late else "Acknowledged", message
        )

    # Proxies

    def follow(self, page: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the page ``proxies`` or ``status`` may have changed."""
        stops = [self._ads.follow(changed)]
        if page == "status":
            stops.append(self._store.listen(lambda drained, _: changed() if drained.done else None))

        def stop() -> None:
            for one in stops:
                one()

        return stop

    def proxies(self) -> Sequence[ProxyState]:
        """Every connected proxy by id, and what of its configuration is not in sync."""
        return self._ads.proxies()

    def config(self, proxy: str, what: str) -> Any | None:
        """What a proxy is sent, decoded; None: no such part, or its first message has not come.

        Of its bootstrap only what it says of itself is known here.

        Raises:
            UnknownProxyError: none is connected, or several are meant.
        """
        session = self._session(proxy)
        if what == "bootstrap":
            return {"bootstrap": [msgspec.to_builtins(session.node)]}
        parts = list(PARTS) if what == "all" else [what]
        if session.placement is None or not set(parts) <= set(PARTS):
            return None
        return {part: [_decoded(r) for r in self._sent(session, PARTS[part])] for part in parts}

    def why_resource(self, type_name: str, name: str, proxy: str) -> Any | None:
        """What a resource was made from, as a tree; None: there is no such resource.

        Beside it, in ``encryption``, what both ends speak and which policy says so.  Without a
        proxy, of the first that is sent such a resource.

        Raises:
            UnknownProxyError: none is connected, or several are meant.
        """
        type_url = TYPES.get(type_name)
        if type_url is None:
            return None
        sessions = [self._session(proxy)] if proxy else self._sessions()
        for session in sessions:
            call = self._call(session, type_url, name)
            if call is not None:
                return self._why(call)
        return None

    def _why(self, call: Call) -> dict[str, Any]:
        engine = self._store.engine
        memo = engine.why(call[0], *call[1])
        tree = self._told(explain.reasons(memo, lambda table, key: self._exists(key)))
        said = encryption.told(engine, call, self._located)
        return {**tree, "encryption": said} if said else tree

    def _located(self, key: Key) -> str:
        record = self._store.record(key)
        return str(record.origin) if record else ""

    def _exists(self, key: Any) -> bool:
        return isinstance(key, Key) and self._store.record(key) is not None

    def _told(self, reason: explain.Reason) -> dict[str, Any]:
        """A reason with where its object stands and when it last changed."""
        told: dict[str, Any] = {"what": reason.what}
        record = self._store.record(reason.object) if reason.object else None
        if record is not None:
            told |= {"locator": str(record.origin), "revision": record.revision}
        if reason.missing:
            told["missing"] = True
        if reason.reads:
            told["reads"] = [self._told(read) for read in reason.reads]
        return told

    def _sessions(self) -> list[Session]:
        return sorted(self._ads.sessions(), key=lambda s: s.node.id if s.node else "")

    def _session(self, proxy: str) -> Session:
        return named.proxy(self._store, self._ads.sessions(), proxy)

    def _call(self, session: Session, type_url: str, name: str) -> Call | None:
        if session.placement is None:
            return None
        for query, args in subscriptions.wildcard(type_url, session.placement):
            for entry in self._store.engine.get(query, *args):
                if entry.name == name:
                    return entry.query, entry.args
        if type_url in (CLUSTER, LISTENER):
            return None
        call = subscriptions.named(type_url, name, session.placement)
        answer = self._store.engine.attempt(call[0], *call[1])
        return call if isinstance(answer, Present) else None

    def _sent(self, session: Session, type_url: str) -> Iterator[Resource]:
        """Resources of a type in the order of names, as they are now."""
        placement, engine = session.placement, self._store.engine
        calls: list[Call] = []
        if placement is None:
            return
        for query, args in subscriptions.wildcard(type_url, placement):
            calls += [(entry.query, entry.args) for entry in engine.get(query, *args)]
        for channel in session.stream.channels if session.stream else ():
            if channel.type_url == type_url:
                names = sorted(channel.topic.names)
                calls += [subscriptions.named(type_url, name, placement) for name in names]
        answers = (engine.attempt(query, *args) for query, args in calls)
        found = {a.resource.name: a.resource for a in answers if isinstance(a, Present)}
        yield from (found[name] for name in sorted(found))

    # All

    def status(self) -> Any:
        """The mesh in one page: objects with findings, sources, faults, proxies."""
        return {
            "revision": self._store.revision,
            "proxies": self.proxies(),
            "objects": list(self._troubled()),
            "faults": [
                {"source": source, "locator": str(fault.origin), "problem": fault.problem}
                for source, faults in sorted(self._store.faults.items())
                for fault in faults
            ],
            "failures": [
                {"query": f"{call[0].__module__}.{call[0].__name__}", "error": repr(error)}
                for call, error in self._store.engine.failures().items()
            ],
            "store": self._store.problem or "",
            "alarms": list(self._alarms()),
        }

    def _troubled(self) -> Iterator[dict[str, Any]]:
        for record in self._records():
            key = record.key
            standing = self._standing(key)
            found = [*record.problems, *standing.findings]
            if found or standing.rejections:
                yield {
                    "object": str(key),
                    "locator": str(record.origin),
                    "findings": [_told(record, finding) for finding in found],
                    "rejections": [
                        {"part": r.name, "proxy": r.proxy, "error": r.error}
                        for r in standing.rejections
                    ],
                }

    def _records(self) -> Iterator[Record]:
        """What its surroundings can make wrong, and of other kinds what is wrong by itself."""
        for kind in KINDS.values():
            found = self._store.records(kind.table)
            checked = kind.table in status.CHECKS
            yield from found if checked else (r for r in found if r.problems and not _is_made(r))

    def mtls(self, place: Place | None) -> tuple[mtls.Port, ...]:
        """What each port asks of its callers, and who calls it in plain text."""
        return mtls.page(self._store, self._ads.sessions(), place)

    async def delivered(self, revision: int) -> Any:
        """Return once every connected proxy has acknowledged all up to `revision`.

        What a proxy refused is named as well, once its culprit is found: all proxies may have
        acknowledged what stands in for it.
        """
        changed = asyncio.Event()
        stop = self._ads.follow(changed.set)
        try:
            while self._ads.late(revision) or any(one.suspect for one in self._rejections()):
                changed.clear()
                await changed.wait()
        finally:
            stop()
        refused = [
            {"objects": list(one.objects), "part": one.name, "error": one.error}
            for one in self._rejections()
        ]
        proxies = len(self._ads.sessions())
        return {"revision": revision, "proxies": proxies, "rejections": refused}

    def _rejections(self) -> tuple[Rejection, ...]:
        return self._store.engine.get(status.rejections)


def _is_made(record: Record) -> bool:
    """Whether a controller made it from another object, whose faults it repeats."""
    return record.object is not None and any(one.controller for one in record.object.owners)


def _decoded(resource: Resource) -> dict[str, Any]:
    message = _MESSAGES[resource.type_url].FromString(resource.body)
    decoded: dict[str, Any] = protos.MessageToDict(message, preserving_proto_field_name=True)
    return decoded


def _condition(type_: str, status_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=status_, reason=reason, message=message)


def _accepted(record: Record) -> Condition:
    errors = [p for p in record.problems if p.severity is Severity.ERROR]
    if errors:
        said = "; ".join(str(problem) for problem in errors)
        return _condition(
            "Accepted", "False", errors[0].code, f"the last good version stays: {said}"
        )
    return _condition("Accepted", "True", "Valid", f"read from {record.origin}")


def _resolved(findings: Sequence[Diagnostic]) -> Condition:
    if not findings:
        return _condition("Resolved", "True", "Resolved", "everything it names is there")
    errors = [found for found in findings if found.severity is Severity.ERROR]
    said = "; ".join(str(finding) for finding in findings)
    return _condition("Resolved", str(not errors), findings[0].code, said)


def _rejected(standing: status.Standing) -> Condition:
    said = "; ".join(f"{r.name}: {r.error} ({r.proxy})" for r in standing.rejections)
    return _condition("Rejected", "True", "PLT9002", f"Envoy refused {said}")


def _internal(key: Key, error: Exception) -> Diagnostic:
    return Diagnostic(
        code="PLT9001",
        severity=Severity.ERROR,
        subject=key,
        message=f"an internal error keeps the last good value in force, else 503: {error!r}",
    )


def _told(record: Record, finding: Diagnostic) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "path": finding.path,
        "message": finding.message,
        "hint": finding.hint,
        "locator": finding.locator or str(record.origin),
    }
