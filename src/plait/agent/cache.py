"""What one proxy last accepted, in memory and in a file, and as topics that a stream can serve.

Nothing here is decoded: a resource is a name, a version and bytes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog
from msgspec import Struct

from plait.base import private, seal
from plait.xds import wire
from plait.xds.channel import NONE, Topic, Want
from plait.xds.resource import CLUSTER, ENDPOINTS, Child, Resource, leaf
from plait.xds.wire import Payload

_PAUSE: Final = 0.5  # seconds between two writes
_PLACE: Final = b"cache"  # what a seal is bound to
_NOTHING: Final[Mapping[str, Resource]] = {}
_log = structlog.get_logger(__name__)


class _File(Struct, frozen=True, kw_only=True):
    """What is held, sealed: keys of gateways are in it."""

    format: Literal[2] = 2
    key: str
    sealed: bytes


_Types = dict[str, dict[str, tuple[str, bytes]]]  # version and body, by type and name


def resource(type_url: str, name: str, version: str, body: bytes) -> Resource:
    """A resource whose content does not matter here."""
    return leaf(type_url, Child(name=name, digest=version, body=body))


class Cache:
    """The resources that one proxy last accepted.

    Args:
        path: the file that keeps them.
        key: the file of the key with which that is sealed, where nobody else may enter.
    """

    def __init__(self, path: Path, key: Path) -> None:
        self._path = path
        self._key = key
        self._types: dict[str, dict[str, Resource]] = {}
        self._changed = asyncio.Event()
        self._writing = threading.Lock()
        self._is_writable = True
        self._load()

    def __len__(self) -> int:
        return sum(len(held) for held in self._types.values())

    def known(self, type_url: str) -> Mapping[str, Resource] | None:
        """The resources of a type by name; None: the proxy never accepted any answer."""
        return self._types.get(type_url)

    def complete(self, type_url: str) -> Mapping[str, Resource] | None:
        """Likewise, without clusters whose endpoints are not here.

        A starting Envoy would wait for those endpoints, and serve nothing till then.
        """
        held = self._types.get(type_url)
        if held is None or type_url != CLUSTER:
            return held
        lacking = Payload(b"", held).needs - self._types.get(ENDPOINTS, _NOTHING).keys()
        return {name: one for name, one in held.items() if name not in lacking}

    def accept(self, type_url: str, resources: Iterable[Resource], removed: Iterable[str]) -> None:
        """Take what the proxy accepted."""
        held = self._types.setdefault(type_url, {})
        held.update((one.name, one) for one in resources)
        for name in removed:
            held.pop(name, None)
        self._changed.set()

    def keep(self, type_url: str, names: Collection[str]) -> None:
        """Forget all of a type but these."""
        held = self._types.get(type_url, {})
        self.forget(type_url, held.keys() - names)

    def forget(self, type_url: str, names: Iterable[str]) -> None:
        """Forget what the proxy has no longer."""
        held = self._types.get(type_url, {})
        for name in names:
            if held.pop(name, None) is not None:
                self._changed.set()

    async def run(self) -> None:
        """Write the file after changes, for ever; `flush` is for the end."""
        while True:
            await self._changed.wait()
            await asyncio.to_thread(self.flush)
            await asyncio.sleep(_PAUSE)

    def flush(self) -> None:
        """Write what is held now, if it changed; readers find the old file or the new one."""
        with self._writing:
            if not self._changed.is_set():
                return
            self._changed.clear()
            try:
                self._write()
            except OSError as error:
                if self._is_writable:
                    _log.warning("cache not written", path=str(self._path), error=str(error))
                self._is_writable = False
            else:
                self._is_writable = True

    def _write(self) -> None:
        # Copied first, each in one step: the loop goes on accepting while this thread writes.
        types: _Types = {
            type_url: {name: (one.version, one.body) for name, one in tuple(held.items())}
            for type_url, held in tuple(self._types.items())
        }
        name, sealed = seal.Keys.of(self._key).close(msgspec.msgpack.encode(types), _PLACE)
        file = _File(key=name, sealed=sealed)
        private.write(self._path, msgspec.msgpack.encode(file), lasting=False)

    def _read(self) -> _Types:
        """What the file keeps.

        Raises:
            OSError, msgspec.DecodeError: it cannot be read, or its key is not there.
        """
        file = msgspec.msgpack.decode(self._path.read_bytes(), type=_File)
        plain = seal.Keys.of(self._key).open(file.key, file.sealed, _PLACE)
        if plain is None:
            raise msgspec.DecodeError(f"it is not sealed with a key of {self._key}")
        return msgspec.msgpack.decode(plain, type=_Types)

    def _load(self) -> None:
        try:
            types = self._read()
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("cache ignored", path=str(self._path), error=str(error))
            return
        for url, held in types.items():
            self._types[url] = {n: resource(url, n, v, body) for n, (v, body) in held.items()}


class Shelves:
    """A cache as the topics of one stream, in which nothing changes any more.

    No name is ever called gone: what the cache does not know, the proxy may know from before.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def topic(self, type_url: str, names: frozenset[str], *, wildcard: bool) -> Topic:
        """The topic of a subscription; its number is 0 where nothing was ever accepted."""
        held = self._cache.complete(type_url)
        number, held = (0, _NOTHING) if held is None else (1, held)
        if not wildcard:
            held = {name: held[name] for name in sorted(names & held.keys())}
        return _Shelf(type_url, held, number=number, names=names, wildcard=wildcard)

    def leave(self, topic: Topic) -> None:
        """Do nothing: topics are not shared."""


class _Shelf(Struct, frozen=True):
    """What was accepted of one subscription; see `xds.channel.Topic`."""

    type_url: str
    resources: Mapping[str, Resource]
    number: int
    names: frozenset[str]
    wildcard: bool

    def payload(self, want: Want) -> Payload:
        chosen = {n: r for n, r in self.resources.items() if not want.since or n in want.owed}
        fragments = [wire.fragment(one) for one in chosen.values()]
        return Payload(wire.delta(self.type_url, fragments, ()), chosen)

    def differing(self, since: int, removed_since: int) -> frozenset[str]:
        del removed_since
        return NONE if since else frozenset(self.resources)

    def has(self, name: str) -> bool:
        del name
        return True

    def held(self, number: int, cleared: int) -> dict[str, str]:
        del cleared
        return {name: one.version for name, one in self.resources.items()} if number else {}

    def compared(self, held: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
        """What a proxy holds is at least as new as the cache: it lacks what it newly asks for."""
        lacking = NONE if self.wildcard else frozenset(self.resources).difference(held)
        return lacking, NONE

    def taken(self, held: Mapping[str, str]) -> None:
        del held
