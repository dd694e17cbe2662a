"""The authority as plait's own doors use it."""

from __future__ import annotations

from collections.abc import Sequence

from plait.base.clock import Clock
from plait.serve import signing
from plait.serve.ca.run import CertificateAuthority
from plait.serve.doors import Pair


class Serving:
    """Certificates for servers, by what signs the mesh's identities."""

    def __init__(self, ca: CertificateAuthority, clock: Clock) -> None:
        self._ca = ca
        self._clock = clock

    def trust_domains(self) -> tuple[str, ...]:
        """That of the mesh, then its aliases."""
        return self._ca.trust_domains

    def roots(self) -> str:
        """In PEM, those that the mesh trusts."""
        return "".join(self._ca.bundle.roots)

    def server_certificate(self, names: Sequence[str]) -> Pair:
        """A certificate for a server of ours."""
        return signing.server_certificate(self._ca.roots.signer, names, self._clock.now())
