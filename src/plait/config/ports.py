"""What the outside implements: places objects come from, and go to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from plait.base.processes import Command
from plait.config.diagnostics import Diagnostic
from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Key, Object, Origin


class Change(Struct, frozen=True, kw_only=True):
    """One object as a source has it now.

    Attributes:
        object: decoded; None: the source no longer has it (`document` is None too), or its
            document cannot be decoded (`problems` say why, and what was in force stays).
        document: the object as written, in the JSON form of Kubernetes; None: gone.
        problems: what reading it found; warnings do not keep it from being in force.
    """

    key: Key
    origin: Origin
    object: Object[Any] | None = None
    document: dict[str, Any] | None = None
    problems: tuple[Diagnostic, ...] = ()


class Fault(Struct, frozen=True, kw_only=True):
    """A document of which not even the key can be read.

    Attributes:
        problem: with the way out.
        code: ``PLT1002`` for an unknown kind, which is only a warning.
        name: of the object, where that can be read.
    """

    origin: Origin
    problem: str
    code: str = "PLT1001"
    name: str = ""

    def may_be(self, key: Key) -> bool:
        """Could the document be `key`?  A misspelled kind leaves its name as it was."""
        return self.name in ("", key.name)


class Batch(Struct, frozen=True, kw_only=True):
    """What changed in a source; in the first batch, all it has.

    Attributes:
        complete: the batch is everything: what it does not name is gone.
        faults: every unreadable document there is now; replaces what was said before.
    """

    changes: tuple[Change, ...] = ()
    complete: bool = False
    faults: tuple[Fault, ...] = ()


class Source(Protocol):
    """Somewhere objects come from."""

    name: str

    def watch(self) -> AsyncIterator[Batch]:
        """Yield batches of changes; the first is complete.

        Raises:
            SourceUnavailableError: cannot be reached.  The caller keeps the last known objects,
                says so once, and retries with backoff.
        """
        ...


class Condition(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One line of an object's status, as in Kubernetes.

    Attributes:
        type: ``Accepted``, ``Resolved``, ``Delivered`` or ``Rejected``.
        status: ``True``, ``False`` or ``Unknown``.
        message: never empty.
        last_transition_time: when `status` changed, as RFC 3339; empty: not known.
    """

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str = ""


class StatusSink(Protocol):
    """Where conditions of objects are shown: an API's status, a file, nothing."""

    async def write(self, key: Key, conditions: Sequence[Condition]) -> None:
        """Replace the conditions of `key`."""
        ...


class PodFile(Struct, frozen=True):
    """A file in a volume, and who may do what with it."""

    content: bytes
    mode: int = 0o644


class Hidden(Struct, frozen=True, kw_only=True):
    """What a Pod takes from Secrets, as in `PodFiles`: a platform keeps it in memory alone."""

    env: Mapping[str, Mapping[str, str]] = {}
    volumes: Mapping[str, Mapping[str, PodFile]] = {}

    def __repr__(self) -> str:
        """Without the values."""
        names = sorted({*self.volumes, *(name for env in self.env.values() for name in env)})
        return f"Hidden({', '.join(names)})"


class PodFiles(Struct, frozen=True, kw_only=True):
    """What a Pod takes from other objects.

    Attributes:
        env: variables, by container.
        volumes: files, by volume and path in it.
        hidden: variables and whole volumes in which something is from a Secret.
        problems: what is missing; a container is not started while there is some.
    """

    env: Mapping[str, Mapping[str, str]] = {}
    volumes: Mapping[str, Mapping[str, PodFile]] = {}
    hidden: Hidden = Hidden()
    problems: tuple[str, ...] = ()


class PodState(Struct, frozen=True, kw_only=True):
    """What a platform observes of one Pod."""

    key: Key
    status: PodStatus


class Runtime(Protocol):
    """Where Pods run."""

    async def run(self, pod: Object[Pod], files: PodFiles) -> None:
        """Have a Pod run, also one that already does; returns at once.

        What goes wrong shows in `observe`.
        """
        ...

    async def stop(self, pod: Key, grace: float) -> None:
        """End a Pod within `grace` seconds; returns when it is gone."""
        ...

    def observe(self) -> AsyncIterator[Sequence[PodState]]:
        """Yield what is seen: first of every Pod there is, then what changed."""
        ...

    def status(self, pod: Key) -> PodStatus | None:
        """How a Pod is at this moment; None: it does not run here."""
        ...

    def logs(
        self, pod: Key, container: str, *, follow: bool, previous: bool, tail: int | None
    ) -> AsyncIterator[bytes]:
        """What a container said: its last `tail` lines, None: all; of its run before.

        Raises:
            LookupError: there is no such Pod or container.
        """
        ...

    def entry(self, pod: Key, container: str, command: Sequence[str]) -> Command:
        """How to start a command inside a container.

        Raises:
            LookupError: there is no such Pod or container.
        """
        ...


class TrustedAgent(Struct, frozen=True, kw_only=True):
    """The agent of this machine asks, as only our own user can.

    Attributes:
        pod: for which it asks, as ``namespace/name``.
        identity: the SPIFFE id that it wants for it; empty: the one that the Pod has.
    """

    pod: str
    identity: str


class BearerToken(Struct, frozen=True, kw_only=True):
    """Somebody shows a token.  It is a secret: no repr shows it."""

    token: str

    def __repr__(self) -> str:
        """Without the secret."""
        return "BearerToken(…)"


class PeerCertificate(Struct, frozen=True, kw_only=True):
    """Somebody proved in the handshake that they have the key of a certificate of the mesh.

    Attributes:
        pem: the certificate, which was valid under the roots of the mesh.
    """

    pem: bytes


Evidence = TrustedAgent | BearerToken | PeerCertificate
"""What tells who asks for a certificate."""


class Attestor(Protocol):
    """Finds out who asks for a certificate."""

    async def attest(self, evidence: Evidence) -> str:
        """The SPIFFE id that the evidence proves; nothing is used up.

        Raises:
            UnknownCallerError: it proves nothing.
            RefusedError: it proves an identity, and not the one that is asked for.
        """
        ...

    def spend(self, evidence: Evidence) -> None:
        """Use up what can be used once; called in one thread, before a certificate is handed out.

        Raises:
            UnknownCallerError: somebody has used it meanwhile.
        """
        ...
