"""What one proxy's Envoy may be told in secret, as topics that a stream can serve.

A secret is never taken back: Envoy goes on with the last one it has.  A name that is not known is
not answered until it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from plait.xds import wire
from plait.xds.channel import NONE, Topic, Want
from plait.xds.resource import SECRET, Resource
from plait.xds.wire import Malformed, Payload

IDENTITY: Final = "default"
"""Name of the proxy's own certificate, as in Istio."""

_MOST: Final = 1_000  # names that one stream may ask for


class Secrets:
    """Secrets by name, each with the number of its last change."""

    def __init__(self) -> None:
        self._number = 0
        self._held: dict[str, tuple[int, Resource]] = {}
        self._asked: Counter[str] = Counter()
        self._followers: dict[object, Callable[[], None]] = {}

    @property
    def asked(self) -> frozenset[str]:
        """Names that some stream asks for."""
        return frozenset(self._asked)

    def put(self, resource: Resource) -> None:
        """Tell this from now on; nothing happens if it was told before."""
        _, before = self._held.get(resource.name, (0, None))
        if before is not None and before.version == resource.version:
            return
        self._number += 1
        self._held[resource.name] = (self._number, resource)
        self._stir()

    def number(self, name: str) -> int:
        """Of the last change of a secret; 0: it is not known."""
        return self._held[name][0] if name in self._held else 0

    def resource(self, name: str) -> Resource | None:
        """A secret; None: it is not known."""
        return self._held[name][1] if name in self._held else None

    def follow(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call back when a secret changed or is newly asked for; returns the way to stop."""
        token = object()
        self._followers[token] = changed
        return lambda: self._followers.pop(token, None) and None

    def topic(self, type_url: str, names: frozenset[str], *, wildcard: bool) -> Topic:
        """The topic of a subscription: these names, and of a wildcard nothing more.

        Raises:
            Malformed: it is not for secrets, or for too many.
        """
        if type_url != SECRET or len(names) > _MOST:
            raise Malformed(f'here are at most {_MOST} secrets, and no "{type_url}"')
        self._asked.update(names)
        self._stir()
        return _Asked(self, names, wildcard=wildcard)

    def leave(self, topic: Topic) -> None:
        """Ask for a topic's names no longer."""
        self._asked.subtract(topic.names)
        self._asked = +self._asked

    def _stir(self) -> None:
        for changed in tuple(self._followers.values()):
            changed()


class _Asked:
    """The secrets that one stream asks for; see `xds.channel.Topic`."""

    def __init__(self, secrets: Secrets, names: frozenset[str], *, wildcard: bool) -> None:
        self._secrets = secrets
        self.names = names
        self.wildcard = wildcard

    @property
    def number(self) -> int:
        return max((self._secrets.number(name) for name in self.names), default=0)

    def payload(self, want: Want) -> Payload:
        known = self._known()
        chosen = {n: r for n, r in known.items() if want.whole or self._is_new(n, want)}
        if want.whole:
            return Payload(wire.state(SECRET, chosen.values()), chosen)
        return Payload(wire.delta(SECRET, map(wire.fragment, chosen.values()), ()), chosen)

    def differing(self, since: int, removed_since: int) -> frozenset[str]:
        del removed_since
        return frozenset(name for name in self.names if self._secrets.number(name) > since)

    def has(self, name: str) -> bool:
        del name
        return True

    def held(self, number: int, cleared: int) -> dict[str, str]:
        del cleared
        known = self._known().items()
        return {n: r.version for n, r in known if self._secrets.number(n) <= number}

    def compared(self, held: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
        known = self._known().items()
        return frozenset(n for n, r in known if held.get(n) != r.version), NONE

    def taken(self, held: Mapping[str, str]) -> None:
        del held

    def _is_new(self, name: str, want: Want) -> bool:
        return self._secrets.number(name) > want.since or name in want.owed

    def _known(self) -> dict[str, Resource]:
        found = ((name, self._secrets.resource(name)) for name in sorted(self.names))
        return {name: one for name, one in found if one is not None}
