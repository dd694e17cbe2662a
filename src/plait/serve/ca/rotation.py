"""The rotation of the root: what happens next, decided from what is known and nothing else.

Three phases, so that at every moment each proxy trusts every certificate that is shown to it:

1. TRUSTING: both roots are trusted and the old one signs, until everybody trusts the new one.
2. SIGNING: both are trusted and the new one signs, until nobody has a certificate of the old one.
3. DROPPING: the old root is trusted no longer, until everybody has heard of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct, structs

GRACE: Final = 300.0
"""Seconds for which proxies that are not connected are waited for in phase 1."""


class Phase(Enum):
    """How far a rotation is."""

    STEADY = "steady"  # there is none
    TRUSTING = "trusting"
    SIGNING = "signing"
    DROPPING = "dropping"


class State(Struct, frozen=True, kw_only=True):
    """Which roots there are; by their fingerprints.

    Attributes:
        signing: certificates are issued under it.
        other: the second root of a rotation: the new one in phase 1, else the old one; empty:
            there is none.
        since: when the phase began, in seconds since the epoch.
        forced: proxies that are not connected are not waited for.
    """

    phase: Phase = Phase.STEADY
    signing: str
    other: str = ""
    since: float = 0.0
    forced: bool = False

    @property
    def trusted(self) -> tuple[str, ...]:
        """The roots that are trusted, the one that signs first."""
        both = self.phase in (Phase.TRUSTING, Phase.SIGNING)
        return (self.signing, self.other) if both else (self.signing,)


class Held(Struct, frozen=True, kw_only=True):
    """The newest certificate that a proxy was given: fingerprint of its root, and its end."""

    root: str
    not_after: float


class Evidence(Struct, frozen=True, kw_only=True):
    """What is known of proxies.

    Attributes:
        connected: ids of those that are connected and have an identity.
        behind: of them, those that have not acknowledged the roots as they are now.
        held: the newest certificates by proxy; what is gone for good is left out.
        watched: seconds since the epoch from which on it is known who is connected.
    """

    connected: frozenset[str] = frozenset()
    behind: frozenset[str] = frozenset()
    held: Mapping[str, Held] = {}
    watched: float = 0.0


class Action(Enum):
    """What a step asks for, beside that its state be kept and its roots be told."""

    FORGET = "forget"  # destroy the key of the root that was `other` before


class Wait(Struct, frozen=True, kw_only=True):
    """Why a phase lasts.

    Attributes:
        proxy: id of the proxy that is waited for.
        until: seconds since the epoch at which that ends by itself; None: it does not.
    """

    proxy: str
    reason: str
    until: float | None = None


def begun(state: State, new: str, now: float) -> State:
    """A rotation to the root `new` begins.

    Raises:
        ValueError: another one is under way.
    """
    if state.phase is not Phase.STEADY:
        raise ValueError("a rotation is under way")
    return State(phase=Phase.TRUSTING, signing=state.signing, other=new, since=now)


def forced(state: State) -> State:
    """The same, without waiting for proxies that are not connected."""
    return structs.replace(state, forced=True)


def aborted(state: State, now: float) -> tuple[State, tuple[Action, ...]]:
    """The way back to the old root.

    In phase 1 nobody has a certificate of the new root: it is over at once.  In phase 2 the two
    change places, and it is over when nobody has one any more.

    Raises:
        ValueError: it is too late, or there is nothing to abort.
    """
    if state.phase is Phase.TRUSTING:
        steady = State(signing=state.signing, other=state.other, since=now)
        return structs.replace(steady, other=""), (Action.FORGET,)
    if state.phase is Phase.SIGNING:
        back = State(phase=Phase.SIGNING, signing=state.other, other=state.signing, since=now)
        return back, ()
    if state.phase is Phase.DROPPING:
        raise ValueError("the old root is given up already: rotate once more instead")
    raise ValueError("no rotation is under way")


def step(
    state: State, seen: Evidence, now: float, grace: float = GRACE
) -> tuple[State, tuple[Action, ...]]:
    """What comes next; the same state while somebody is waited for, or nothing is to be done."""
    if state.phase is Phase.STEADY or waits(state, seen, now, grace):
        return state, ()
    if state.phase is Phase.TRUSTING:
        new = structs.replace(state, signing=state.other, other=state.signing)
        return structs.replace(new, phase=Phase.SIGNING, since=now), ()
    if state.phase is Phase.SIGNING:
        return structs.replace(state, phase=Phase.DROPPING, since=now), (Action.FORGET,)
    return State(signing=state.signing, since=now), ()


def waits(state: State, seen: Evidence, now: float, grace: float = GRACE) -> tuple[Wait, ...]:
    """Whom the phase waits for, by proxy."""
    found: Iterable[Wait] = ()
    match state.phase:
        case Phase.TRUSTING:
            found = (*_acknowledgements(seen), *_absent(state, seen, now, grace))
        case Phase.SIGNING:
            found = _old(state, seen, now, grace)
        case Phase.DROPPING:
            found = _acknowledgements(seen)
        case Phase.STEADY:
            pass
    return tuple(sorted(found, key=lambda wait: wait.proxy))


def _acknowledgements(seen: Evidence) -> Iterator[Wait]:
    for proxy in seen.behind & seen.connected:
        yield Wait(proxy=proxy, reason="has not acknowledged the roots")


def _absent(state: State, seen: Evidence, now: float, grace: float) -> Iterator[Wait]:
    """Who has a certificate and cannot be told: it may come back, and it may be at work."""
    until = max(state.since, seen.watched) + grace
    if state.forced or now >= until:
        return
    for proxy, held in seen.held.items():
        if proxy not in seen.connected and held.not_after > now:
            end = min(until, held.not_after)
            yield Wait(proxy=proxy, reason="is not connected", until=end)


def _old(state: State, seen: Evidence, now: float, grace: float) -> Iterator[Wait]:
    """Who may still show a certificate of the old root."""
    for proxy in seen.connected - seen.held.keys():
        until = max(state.since, seen.watched) + grace
        if now < until:
            yield Wait(proxy=proxy, reason="has no certificate that is known here", until=until)
    for proxy, held in seen.held.items():
        if held.root == state.signing or held.not_after <= now:
            continue
        if proxy in seen.connected:
            yield Wait(proxy=proxy, reason="has a certificate of the old root")
        elif not state.forced:
            reason = "is not connected, and has a certificate of the old root"
            yield Wait(proxy=proxy, reason=reason, until=held.not_after)
