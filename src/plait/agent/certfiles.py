"""Certificates and keys in files: read as Envoy's own user, and told anew when they change.

What cannot be used, such as a pair of which one half is written, changes nothing: the last good
one stays in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from plait.agent.secrets import Secrets
from plait.base import pem
from plait.base.pem import UnreadableError
from plait.base.reading import read_as
from plait.xds import keys
from plait.xds.resource import Resource

PAIR: Final = "file-cert:"
"""Begins the name of a certificate and its key: ``file-cert:CERTIFICATE~KEY``, as in Istio."""
ROOTS: Final = "file-root:"
"""Begins the name of certificates to trust: ``file-root:PATH``, as in Istio.

``file-root:PATH~REVOKED`` goes without those in a list of revoked ones.
"""
LOOK: Final = 1.0
"""Seconds between two looks at the files that are asked for."""

_LONGEST: Final = 1024 * 1024  # bytes of a file
_log = structlog.get_logger(__name__)


class Files:
    """The files that one proxy asks for.

    Args:
        secrets: says which, and is told what is in them.
        uid: whose rights count; None: ours.
        proxy: for the log.
    """

    def __init__(self, secrets: Secrets, uid: int | None, proxy: str) -> None:
        self._secrets = secrets
        self._uid = uid
        self._proxy = proxy
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Follow the files until cancelled."""
        changed = asyncio.Event()
        stop = self._secrets.follow(changed.set)
        try:
            while True:
                changed.clear()
                names = [one for one in sorted(self._secrets.asked) if is_file(one)]
                for name in names:
                    await self._look(name)
                await _elapsed(changed, LOOK if names else None)
        finally:
            stop()

    async def _look(self, name: str) -> None:
        try:
            found = await asyncio.to_thread(secret, name, self._read)
        except (OSError, ValueError) as error:
            self._tell(name, str(error))
        else:
            self._secrets.put(found)
            if self._problems.pop(name, None) is not None:
                _log.info("secret back", proxy=self._proxy, key=name)

    def _read(self, path: str) -> bytes:
        return read_as(self._uid, path, _LONGEST)

    def _tell(self, name: str, error: str) -> None:
        if self._problems.get(name) != error:
            self._problems[name] = error
            keeping = int(self._secrets.number(name) > 0)
            _log.warning(
                "secret not read", proxy=self._proxy, key=name, error=error, keeping=keeping
            )


def is_file(name: str) -> bool:
    """Whether a secret of this name is in files."""
    return name.startswith((PAIR, ROOTS))


def secret(name: str, read: Callable[[str], bytes]) -> Resource:
    """What the files of a secret hold now.

    Raises:
        OSError: one cannot be read.
        ValueError: it is not what the name says; the message has nothing of its content.
    """
    if name.startswith(ROOTS):
        path, _, revoked = name.removeprefix(ROOTS).partition("~")
        text, lists = read(path), read(revoked) if revoked else b""
        with _named(path):
            pem.certificates(text)
        if revoked:
            with _named(revoked):
                pem.revocations(lists)
        return keys.roots(name, text, lists)
    first, _, second = name.removeprefix(PAIR).partition("~")
    chain, key = read(first), read(second)
    with _named(first):
        leaf = pem.certificates(chain)[0]
    with _named(second):
        public = pem.private_key(key).public_key()
    if leaf.public_key() != public:
        raise ValueError(f"the certificate in {first} is not of the key in {second}")
    return keys.certificate(name, chain=chain, key=key)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """What is wrong with a file is said behind its path."""
    try:
        yield
    except UnreadableError as error:
        raise ValueError(f"{path} {error}") from error


async def _elapsed(changed: asyncio.Event, seconds: float | None) -> None:
    """Wait for a change, at most so long; None: as long as it takes."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
