"""The certificate authority at work: what it signs with, whom the mesh trusts, the rotation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec import Struct, structs

from plait.base.errors import BusyError, RefusedError
from plait.base.query import Query
from plait.base.tasks import Health, supervise
from plait.config import catalog
from plait.config.kinds.observed import TrustBundle
from plait.config.meta import Key
from plait.config.ports import Evidence, TrustedAgent
from plait.config.store import Store
from plait.mesh import trust
from plait.serve.ca import authority, rotation
from plait.serve.ca.attest import MeshAttestor
from plait.serve.ca.ledger import Entry, Ledger
from plait.serve.ca.roots import Roots
from plait.serve.ca.rotation import Action, Phase, State, Wait
from plait.serve.ca.service import Service
from plait.serve.ca.tokens import Tokens
from plait.xds import certificates
from plait.xds.certificates import CertificateRequest

PENDING: Final = 1000
"""Requests that may wait for their certificates at once."""
_PATIENCE: Final = 20.0  # seconds that a certificate may take
_TICK: Final = 1.0  # seconds between two looks at files and at the rotation
_LONGEST: Final = 512  # characters of the id of a proxy, and of an identity that is shown
_FORGOTTEN: Final = 86_400.0  # seconds after which an expired certificate is shown no longer
_SWEEP: Final = 5.0  # seconds between two looks for those
_PAUSE: Final = 0.2  # seconds between two looks at proxies
_log = structlog.get_logger(__name__)


class Options(Struct, frozen=True, kw_only=True):
    """What an operator chooses.

    Attributes:
        directory: of keys and state.
        plugged: directory of an authority of the user's own; None: a root of our own making.
        life: seconds for which a certificate is valid: as a rule, and at most.
        grace: seconds for which a rotation waits for proxies that are not connected.
    """

    directory: Path
    plugged: Path | None = None
    life: float = 86_400.0
    grace: float = rotation.GRACE


class Seen(Struct, frozen=True, kw_only=True):
    """A connected proxy that has an identity.

    Attributes:
        holds: it has acknowledged the roots as they are now.
    """

    proxy: str
    holds: bool


class Proxies(Struct, frozen=True, kw_only=True):
    """How connected proxies are seen.

    Attributes:
        seen: those that have an identity.
        follow: call back when one came, went or acknowledged something; returns the way to stop.
    """

    seen: Callable[[], Iterable[Seen]]
    follow: Callable[[Callable[[], None]], Callable[[], None]]


class CertificateAuthority:
    """Gives certificates, and turns roots over.

    Attributes:
        roots, ledger, tokens: what it keeps; its one worker alone writes.
        pending: requests that wait for their certificates.
        told: set when the store has whom the mesh trusts.
    """

    def __init__(
        self, options: Options, store: Store, runs_here: Callable[[Key], bool], proxies: Proxies
    ) -> None:
        self.roots = Roots(options.directory, options.plugged)
        self.ledger = Ledger(self.roots.path("issued.jsonl"))
        self.tokens = Tokens(self.roots.path("tokens.json"))
        self.told = asyncio.Event()
        self._options = options
        self._store = store
        self._clock = store.clock
        self._proxies = proxies
        self._worker = ThreadPoolExecutor(1, "ca")
        self._attestor = MeshAttestor(store, runs_here, self.tokens)
        self.pending = 0
        self._wake = asyncio.Event()
        self._opened = store.clock.now()
        self._swept = store.clock.monotonic()

    async def open(self) -> None:
        """Read what is kept, or begin with a new root.

        Raises:
            AuthorityError: something cannot be read or written.
        """
        await self.work(self.roots.open, self._domain(), self._clock.now())
        await self.work(self.ledger.load)
        await self.work(self.tokens.load)

    async def run(self) -> None:
        """Tell whom to trust, and go on with a rotation, until cancelled."""
        stop = self._proxies.follow(self._wake.set)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(supervise(self._follow, name="ca:files"), name="ca:files")
                group.create_task(supervise(self._turn, name="ca"), name="ca")
        finally:
            stop()
            self._worker.shutdown(wait=False, cancel_futures=True)

    def service(self, *, trusts: bool) -> Service:
        """The gRPC method; `trusts`: for a server that only our own user can reach."""
        return Service(self, trusts=trusts)

    # Certificates

    async def grant(self, request: CertificateRequest, evidence: Evidence) -> tuple[str, ...]:
        """The chain for a request; see `service.Desk`."""
        identity = await self._attestor.attest(evidence)
        wanted = request.metadata.get(certificates.IDENTITY) or identity
        account = request.metadata.get(certificates.ACCOUNT, "")
        if wanted != identity or not identity.endswith(account):
            told = (account if wanted == identity else wanted)[:_LONGEST]
            raise RefusedError(f'the credential is of "{identity}", and not of "{told}"')
        proxy = request.metadata.get(certificates.PROXY, "")[:_LONGEST]
        if isinstance(evidence, TrustedAgent):
            entry = Entry(identity=identity, proxy=proxy, pod=evidence.pod)
        else:
            entry = Entry(identity=identity, proxy=self._claimed(proxy, identity))
        async with self._place():
            chain: tuple[str, ...] = await self.work(self._issue, request, entry, evidence)
            return chain

    def _issue(
        self, request: CertificateRequest, entry: Entry, evidence: Evidence
    ) -> tuple[str, ...]:
        """Look at a request, sign it, and use up what was shown: whatever is refused costs none."""
        now, life = self._clock.now(), self._options.life
        csr, seconds = authority.checked(request.csr), min(request.seconds or life, life)
        issued = authority.issue(self.roots.signer, csr, entry.identity, seconds, now)
        self._attestor.spend(evidence)
        self.ledger.add(
            structs.replace(
                entry,
                root=issued.root,
                serial=issued.serial,
                at=now,
                not_before=issued.not_before,
                not_after=issued.not_after,
            )
        )
        return issued.chain

    def _claimed(self, proxy: str, identity: str) -> str:
        """The proxy that a stranger says it is; empty: that one is known with another identity."""
        known = self.ledger.entries.get(proxy)
        return proxy if known is None or known.identity == identity else ""

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self.pending >= PENDING:
            raise BusyError("the certificate authority is busy: ask again")
        self.pending += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                yield
        except TimeoutError as error:
            raise BusyError("the certificate authority is slow: ask again") from error
        finally:
            self.pending -= 1

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Do something in the one thread that signs and writes.

        Raises:
            BusyError: the control plane stops.
        """
        loop = asyncio.get_running_loop()
        try:
            doing = loop.run_in_executor(self._worker, function, *arguments)
        except RuntimeError as error:  # the thread takes nothing any more
            raise BusyError("the control plane stops: ask the next one") from error
        return await doing

    # Roots

    def now(self) -> float:
        """Seconds since the epoch, by the store's clock."""
        return self._clock.now()

    @property
    def bundle(self) -> TrustBundle:
        """Whom the mesh trusts."""
        return TrustBundle(trust_domain=self._domain(), roots=self.roots.trusted)

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """That of the identities which are given, then those that are taken for it."""
        return self._store.engine.get(trust.domains)

    def waits(self) -> tuple[Wait, ...]:
        """Whom the rotation waits for."""
        state, now = self.roots.state, self._clock.now()
        return rotation.waits(state, self.evidence(), now, self._options.grace)

    def evidence(self) -> rotation.Evidence:
        """What is known of proxies now."""
        seen = tuple(self._proxies.seen())
        is_told = self._store.engine.get(_trusted) == self.bundle
        return rotation.Evidence(
            connected=frozenset(one.proxy for one in seen),
            behind=frozenset(one.proxy for one in seen if not (is_told and one.holds)),
            held={
                holder: rotation.Held(root=entry.root, not_after=entry.not_after)
                for holder, entry in tuple(self.ledger.entries.items())
                if not self._is_gone(entry)
            },
            watched=self._opened,
        )

    async def rotate(self, *, force: bool) -> None:
        """Begin a rotation; with `force`, do not wait for who is not connected.

        Raises:
            RefusedError: one is under way, or went on meanwhile, or the root is the user's own.
            AuthorityError: nothing can be written.
        """
        before = self.roots.state
        if before.phase is not Phase.STEADY and force:
            await self._move(before, rotation.forced(before), ())
        else:
            rotate = partial(self.roots.rotate, force=force)
            await self.work(rotate, self._domain(), self._clock.now())
            _log.info("root rotation begun")
        await self._tell()

    async def abort(self) -> None:
        """Go back to the old root.

        Raises:
            RefusedError: it is too late, or nothing is under way.
            AuthorityError: nothing can be written.
        """
        before = self.roots.state
        try:
            state, actions = rotation.aborted(before, self._clock.now())
        except ValueError as error:
            raise RefusedError(str(error)) from error
        await self._move(before, state, actions)
        _log.info("root rotation aborted")
        await self._tell()

    async def _move(self, before: State, state: State, actions: Sequence[Action]) -> None:
        if not await self.work(self.roots.move, before, state, actions):
            raise RefusedError("the rotation went on meanwhile: look at it, and ask again")

    async def _turn(self, health: Health) -> None:
        """Go on with the rotation, whenever there is something new of a proxy, or time went by."""
        await self._tell()
        health.up()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._wake.wait()
            self._wake.clear()
            await self._step()
            await self._tell()
            await self._sweep()
            health.up()
            await asyncio.sleep(_PAUSE)

    async def _step(self) -> None:
        before, now = self.roots.state, self._clock.now()
        if before.phase is not Phase.STEADY:
            state, actions = rotation.step(before, self.evidence(), now, self._options.grace)
            if state != before and await self.work(self.roots.move, before, state, actions):
                _log.info("root rotation", phase=state.phase.value)

    async def _sweep(self) -> None:
        """Forget certificates that nobody can show any more."""
        moment, now = self._clock.monotonic(), self._clock.now()
        if moment < self._swept + _SWEEP:
            return
        self._swept = moment
        gone = [
            entry
            for entry in tuple(self.ledger.entries.values())
            if entry.not_after <= now - _FORGOTTEN or self._is_gone(entry)
        ]
        await self.work(self.ledger.forget, gone)

    async def _follow(self, health: Health) -> None:
        """Follow the files of the user's own authority."""
        while True:
            await self.work(self.roots.look, self._clock.now())
            health.up()
            await asyncio.sleep(_TICK)

    async def _tell(self) -> None:
        """Put the row of whom the mesh trusts, if it is another."""
        bundle = self.bundle
        if self._store.engine.get(_trusted) != bundle:
            await self._store.observe([("TrustBundle", "mesh", bundle)])
        self.told.set()

    def _domain(self) -> str:
        return self._store.engine.get(trust.domain)

    def _is_gone(self, entry: Entry) -> bool:
        """Whether the Pod that had the certificate is no more."""
        if not entry.pod or not self._store.ready.is_set():
            return False
        namespace, _, name = entry.pod.partition("/")
        return self._store.record(catalog.KINDS["Pod"].key(namespace, name)) is None


def _trusted(q: Query) -> TrustBundle | None:
    found: TrustBundle | None = q.row("TrustBundle", "mesh")
    return found
