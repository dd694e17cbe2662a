"""Doors to other machines: who is let in, and the certificate that the server shows.

A Unix socket of our own user and loopback are open to who is on this machine, as before.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any, Final, Protocol

import grpc
import structlog
from cryptography import x509
from msgspec import Struct

from plait.base.clock import Clock
from plait.base.errors import SettingsError
from plait.serve.api.guard import is_loopback

LOOK: Final = 1.0
"""Seconds between two looks at whether a certificate must be renewed."""
NAMES: Final = ("istiod.istio-system.svc", "localhost", "127.0.0.1")
"""What every server certificate is for, beside the names that the operator gives."""
_log = structlog.get_logger(__name__)


class Pair(Struct, frozen=True, kw_only=True):
    """A server's certificate: its chain in PEM, the leaf first, and the leaf's private key."""

    chain: str
    key: str

    def __repr__(self) -> str:
        """Without the key."""
        return "Pair(…)"


class Certificates(Protocol):
    """The mesh's own certificate authority, as its doors see it.  Nothing here takes long."""

    def trust_domains(self) -> tuple[str, ...]:
        """That of the identities which the authority gives, then its aliases."""
        ...

    def roots(self) -> str:
        """In PEM, all roots under which clients are trusted."""
        ...

    def server_certificate(self, names: Sequence[str]) -> Pair:
        """A certificate for a server that has these names and addresses.

        Raises:
            PlaitError: nothing can be signed now.
        """
        ...


class Door(Struct, frozen=True, kw_only=True):
    """Addresses with TLS.

    Attributes:
        addresses: each ``host:port``.
        is_for_members: clients must show a certificate of the mesh, and may use the discovery
            service as what that one says; else the door has nothing but `services`.
        services: more gRPC handlers.
    """

    addresses: tuple[str, ...]
    is_for_members: bool
    services: tuple[Any, ...] = ()


class Shown:
    """What servers show, renewed at half of its life and when the roots change.

    Attributes:
        pair, roots: in force now.
    """

    def __init__(self, certificates: Certificates, names: Sequence[str], clock: Clock) -> None:
        self.certificates = certificates
        self._names = tuple(dict.fromkeys((*names, *NAMES)))
        self._clock = clock
        self._is_failing = False
        self._renew()

    def _renew(self) -> None:
        roots = self.certificates.roots()
        pair = self.certificates.server_certificate(self._names)
        now = self._clock.now()
        leaf = x509.load_pem_x509_certificate(pair.chain.encode())
        self.pair, self.roots = pair, roots
        self._due = now + (leaf.not_valid_after_utc.timestamp() - now) / 2

    async def run(self) -> None:
        """Renew in time, until cancelled; what is shown stays while it cannot be renewed."""
        while True:
            await asyncio.sleep(LOOK)
            if self._clock.now() >= self._due or self.certificates.roots() != self.roots:
                self._try()

    def _try(self) -> None:
        try:
            self._renew()
        except Exception as error:  # noqa: BLE001 - what is shown is good for as long again
            if not self._is_failing:
                _log.error("certificate of doors not renewed", error=str(error))
            self._is_failing = True
        else:
            self._is_failing = False
            _log.info("certificate of doors renewed")

    def credentials(self, *, is_for_members: bool) -> Any:
        """Credentials of a gRPC server, which follow what is shown.

        gRPC asks for them in threads of its own before each handshake.
        """
        known: list[tuple[Pair, str, Any]] = []

        def fetch() -> Any:
            pair, roots = self.pair, self.roots
            if not known or known[-1][:2] != (pair, roots):
                known[:] = [(pair, roots, _configuration(pair, roots))]
                return known[0][2]
            return None

        return grpc.dynamic_ssl_server_credentials(fetch(), fetch, is_for_members)


def _configuration(pair: Pair, roots: str) -> Any:
    chain = [(pair.key.encode(), pair.chain.encode())]
    return grpc.ssl_server_certificate_configuration(chain, root_certificates=roots.encode())


def see_plain(addresses: Sequence[str], *, insecure: bool) -> None:
    """Look at addresses where the discovery service is to be open to everybody.

    Raises:
        SettingsError: one can be reached from other machines, and nobody said that it shall.
    """
    open_ = [one for one in addresses if not is_of_this_machine(one)]
    if open_ and not insecure:
        raise SettingsError(
            f'--xds "{open_[0]}" can be reached from other machines, and there is no telling who '
            "asks: use --xds-tls, which wants certificates of the mesh, or say --insecure-xds"
        )
    if open_:
        _log.warning("xds without authentication", addresses=open_)


def names(given: Sequence[str], addresses: Sequence[str]) -> tuple[str, ...]:
    """What certificates of the doors are for: what the operator says, and where they are.

    Who reaches a door at every address of this machine does so by a name that nobody knows here.
    """
    hosts = [_host(one) for one in addresses if not one.startswith("unix:")]
    if not given and (wide := [one for one in hosts if _is_everywhere(one)]):
        _log.warning("doors without a name: give --xds-name", addresses=wide)
    return tuple(dict.fromkeys((*given, *(one for one in hosts if not _is_everywhere(one)))))


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_of_this_machine(address: str) -> bool:
    """Whether nobody on another machine reaches an address."""
    return address.startswith("unix:") or is_loopback(_host(address))
