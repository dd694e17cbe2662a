"""What holds for an object: the findings of all that it causes, and what Envoy refused of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from plait.base.query import Query
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds.observed import Rejection
from plait.config.meta import Key, Origin
from plait.mesh import checks, inbound_listeners, ir

CHECKS: Mapping[str, Callable[[Query, Key], Any]] = {
    "VirtualService": checks.virtual_service,
    "Gateway": checks.gateway,
    "Sidecar": checks.sidecar,
    "Service": checks.host,
    "ServiceEntry": checks.host,
    "DestinationRule": checks.destination_rule,
    "PeerAuthentication": checks.peer_authentication,
    "Secret": checks.secret,
}
"""For each kind that can be wrong in its surroundings: what looks at one object."""


class Standing(Struct, frozen=True, kw_only=True):
    """How one object stands.

    Attributes:
        findings: about it, errors first, then in order of code and path.
        rejections: parts made from it that Envoy refused, by name.
    """

    findings: tuple[Diagnostic, ...] = ()
    rejections: tuple[Rejection, ...] = ()


def standing(q: Query, key: Key) -> Standing:
    """How the object stands now; also for what no proxy sees yet."""
    refused = q.rows("Rejection", "object", str(key))
    return Standing(
        findings=q(findings, key),
        rejections=tuple(sorted((r for r in refused if not r.suspect), key=lambda r: r.name)),
    )


def rejections(q: Query) -> tuple[Rejection, ...]:
    """All that Envoy refused and that still counts, by digest."""
    return tuple(q.rows("Rejection", "all", True))  # noqa: FBT003 - the index has one value


def findings(q: Query, key: Key) -> tuple[Diagnostic, ...]:
    """What is wrong with an object in its own namespace, and whether sources disagree about it."""
    check = CHECKS.get(key.kind)
    noted = q.notes_of(check, key) if check else ()
    found = [note for note in noted if isinstance(note, Diagnostic) and note.subject == key]
    origins: tuple[Origin, ...] | None = q.row("Conflict", key)
    if origins:
        found.append(_conflict(key, origins))
    return tuple(sorted(set(found), key=_rank))


def found_inbound(q: Query, inbound: ir.Inbound) -> tuple[Diagnostic, ...]:
    """What the proxies of a workload find wrong with how it is called: PLT3008."""
    listeners = inbound_listeners.names(inbound)
    noted = (q.notes_of(inbound_listeners.listener, inbound, name) for name in listeners)
    found = (note for notes in noted for note in notes if isinstance(note, Diagnostic))
    return tuple(dict.fromkeys(found))


def _rank(diagnostic: Diagnostic) -> tuple[int, str, str, str]:
    order = (Severity.ERROR, Severity.WARNING, Severity.INFO)
    return order.index(diagnostic.severity), diagnostic.code, diagnostic.path, diagnostic.message


def _conflict(key: Key, origins: tuple[Origin, ...]) -> Diagnostic:
    others = ", ".join(f"{origin.source} ({origin})" for origin in origins)
    return Diagnostic(
        code="PLT1008",
        severity=Severity.WARNING,
        subject=key,
        message=f"also defined by {others}; this version was changed last and is in force",
        hint="Keep one of them; deleting this one brings the other back",
    )
