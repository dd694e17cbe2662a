"""Which part of a refused response is at fault, as pure steps.

A refusal covers a whole response.  The culprit is the child that the client's words name; else
it is among the children that changed since they were last accepted.  If that is one, it is
rejected.  If they are several, all are held back as suspects, so that everything else can change
again, and they are let in half by half: what is accepted is cleared, what is refused is halved,
until each culprit stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from plait.config.kinds.observed import Rejection
from plait.xds.resource import Child, Resource

Rows = dict[str, Rejection | None]
"""What to write, by digest; None: the row goes."""

MOST = 1_000
"""Suspects of one refusal; where there are more, nothing is held back and status says so."""

_LOCAL = re.compile(
    r"cannot bind|address already in use|permission denied|failed to bind", re.IGNORECASE
)
_INDEX = re.compile(r"(?:VirtualHosts|FilterChains)\[(\d+)\]", re.IGNORECASE)
_EDGE = r"[\w.\-|/]"  # what names are made of


class Part(Struct, frozen=True, kw_only=True):
    """One resource of a response, and what was last accepted in its place; None: nothing."""

    resource: Resource
    accepted: Resource | None


class Verdict(Struct, frozen=True, kw_only=True):
    """What a client made of a response; `error` None: it took it."""

    proxy: str
    type_url: str
    parts: tuple[Part, ...]
    error: str | None = None
    at: float = 0.0


class Suspect(Struct, frozen=True, kw_only=True):
    """A child that may be at fault, and its last accepted bytes."""

    resource: str
    child: Child
    accepted: bytes | None


class Case(Struct, frozen=True, kw_only=True):
    """The search for the culprits of one refusal.

    Attributes:
        untried: groups of suspects that are held back.
        trying: the group that was let in last; empty: none is, and the client is to accept the
            resources without all of them first.
    """

    verdict: Verdict
    untried: tuple[tuple[Suspect, ...], ...]
    trying: tuple[Suspect, ...] = ()


Step = tuple[tuple[Case, ...], Rows]


def step(cases: tuple[Case, ...], verdict: Verdict, known: Mapping[str, object]) -> Step:
    """Go on after a verdict; `known` are the digests that are held back already."""
    if verdict.error is None:
        return _accepted(cases, verdict)
    return _refused(cases, verdict, known)


def pruned(cases: tuple[Case, ...], occurs: Callable[[str], bool]) -> Step:
    """Go on without suspects that do not occur any more, because their objects changed."""
    left: list[Case] = []
    rows: Rows = {}
    for case in cases:
        groups = [tuple(s for s in group if occurs(s.child.digest)) for group in case.untried]
        untried = tuple(group for group in groups if group)
        trying = tuple(s for s in case.trying if occurs(s.child.digest))
        rows |= {
            s.child.digest: None
            for group in case.untried
            for s in group
            if not occurs(s.child.digest)
        }
        if case.trying and not trying and untried:
            *untried_left, trying = untried
            untried = tuple(untried_left)
            rows |= {s.child.digest: None for s in trying}
        if untried or trying:
            left.append(_replaced(case, untried=untried, trying=trying))
    return tuple(left), rows


def blame(verdict: Verdict, known: Mapping[str, object]) -> tuple[Suspect, ...]:
    """The children that may be at fault; empty: the fault lies elsewhere, or is known."""
    text = verdict.error or ""
    if _LOCAL.search(text):
        return ()  # of that machine: the same bytes are good elsewhere
    named = tuple(part for part in verdict.parts if _names(text, part.resource.name))
    parts = named or verdict.parts
    found = tuple(
        suspect for part in parts for suspect in _changed(part) if suspect.child.digest not in known
    )
    return _numbered(text, parts, found) or _spoken(text, found) or found


def _refused(cases: tuple[Case, ...], verdict: Verdict, known: Mapping[str, object]) -> Step:
    found = blame(verdict, known)
    digests = {suspect.child.digest for suspect in found}
    for case in cases:
        hit = tuple(s for s in case.trying if s.child.digest in digests)
        if hit:
            rest = tuple(s for s in case.trying if s.child.digest not in digests)
            after, rows = _halved(case, hit, verdict)
            if rest:
                after = _replaced(after, untried=(*after.untried, rest))
                rows |= _rows(rest, verdict, suspect=True)
            others = tuple(c for c in cases if c is not case)
            return ((*others, after) if after.untried else others), rows
    if not found or len(found) > MOST:
        return cases, {}
    case, rows = _halved(Case(verdict=verdict, untried=()), found, verdict)
    return ((*cases, case) if case.untried else cases), rows


def _halved(case: Case, found: tuple[Suspect, ...], verdict: Verdict) -> tuple[Case, Rows]:
    """Reject the one that is found, or hold back all of them in two groups."""
    if len(found) == 1:
        after = _replaced(case, untried=case.untried)
        return after, _rows(found, verdict, suspect=False)
    middle = len(found) // 2
    after = _replaced(case, untried=(*case.untried, found[middle:], found[:middle]))
    return after, _rows(found, verdict, suspect=True)


def _accepted(cases: tuple[Case, ...], verdict: Verdict) -> Step:
    taken = {child.digest for part in verdict.parts for child in part.resource.children}
    names = {part.resource.name for part in verdict.parts}
    left: list[Case] = []
    rows: Rows = {}
    for case in cases:
        if case.verdict.type_url != verdict.type_url or not _concerns(case, names, taken):
            left.append(case)
        elif case.untried:
            *untried, trying = case.untried
            left.append(_replaced(case, untried=tuple(untried), trying=trying))
            rows |= {suspect.child.digest: None for suspect in trying}
    return tuple(left), rows


def _concerns(case: Case, names: set[str], taken: set[str]) -> bool:
    """Whether a response that was taken answers the question that the case asks."""
    if case.trying:
        asked = [s for s in case.trying if s.resource in names]
        return bool(asked) and all(s.child.digest in taken for s in asked)
    held = {s.child.digest for group in case.untried for s in group}
    return not held & taken and any(s.resource in names for group in case.untried for s in group)


def _replaced(
    case: Case, *, untried: tuple[tuple[Suspect, ...], ...], trying: tuple[Suspect, ...] = ()
) -> Case:
    return Case(verdict=case.verdict, untried=untried, trying=trying)


def _rows(found: Iterable[Suspect], verdict: Verdict, *, suspect: bool) -> Rows:
    return {
        s.child.digest: Rejection(
            digest=s.child.digest,
            name=s.child.name,
            proxy=verdict.proxy,
            error=verdict.error or "",
            accepted=s.accepted,
            suspect=suspect,
            objects=tuple(str(key) for key in s.child.origin),
            at=verdict.at,
        )
        for s in found
    }


def _changed(part: Part) -> Iterable[Suspect]:
    """Children that are not as they were when the resource was last accepted."""
    before = part.accepted.children if part.accepted else ()
    same = {child.digest for child in before}
    bodies = {child.name: child.body for child in before}
    for child in part.resource.children:
        if child.digest not in same:
            yield Suspect(resource=part.resource.name, child=child, accepted=bodies.get(child.name))


def _numbered(
    text: str, parts: tuple[Part, ...], found: tuple[Suspect, ...]
) -> tuple[Suspect, ...]:
    """The suspect that the text names by its place in the only resource it can mean."""
    index = _INDEX.search(text)
    if index is None or len(parts) != 1:
        return ()
    children = parts[0].resource.children
    place = int(index.group(1))
    meant = children[place].digest if place < len(children) else ""
    return tuple(s for s in found if s.child.digest == meant)


def _spoken(text: str, found: tuple[Suspect, ...]) -> tuple[Suspect, ...]:
    return tuple(s for s in found if _names(text, s.child.name))


def _names(text: str, name: str) -> bool:
    """Whether the text has this name, and not only as a part of a longer one."""
    if not name or name not in text:
        return False
    return bool(re.search(rf"(?<!{_EDGE}){re.escape(name)}(?!{_EDGE}*\w)", text))
