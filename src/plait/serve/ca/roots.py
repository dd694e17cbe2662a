"""Which roots there are, which one signs, and with what: kept on disk, and changed in one thread.

A root is of our own making, or the user's own (`plugged`).  Whichever way another root comes to
be wanted, by command, by a changed file or by a changed setting, it comes by a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from cryptography import x509
from msgspec import structs

from plait.base.errors import AuthorityError, RefusedError
from plait.serve.ca import authority, plugged, rotation
from plait.serve.ca.authority import Signer
from plait.serve.ca.keyring import Kept, Keyring
from plait.serve.ca.plugged import Plugged
from plait.serve.ca.rotation import Action, Phase, State

_log = structlog.get_logger(__name__)
_NOTHING = State(signing="")


class Roots:
    """The roots of the mesh.

    Attributes:
        state: of the rotation.
        trusted: the roots that are, in PEM, the one that signs first; others read it meanwhile.
        source: directory of the user's own authority; None: the roots are of our own making.
        problem: why what is in `source` is not in force; empty: it is.
    """

    def __init__(self, directory: Path, source: Path | None) -> None:
        self.state = _NOTHING
        self.trusted: tuple[str, ...] = ()
        self.source = source
        self.problem = ""
        self._keyring = Keyring(directory)
        self._signers: dict[str, Signer] = {}
        self._roots: dict[str, str] = {}
        self._others: tuple[str, ...] = ()  # of the user's own, trusted as well
        self._mark: tuple[object, ...] = ()  # of the files as they were taken
        self._look: tuple[object, ...] = ()  # as they were last seen

    def path(self, name: str) -> Path:
        """A file of that name beside the keys."""
        return self._keyring.path(name)

    @property
    def signer(self) -> Signer:
        """What certificates are signed with now."""
        return self._signers[self.state.signing]

    def open(self, trust_domain: str, now: float) -> None:
        """Read what is kept, or begin with a new root.

        Raises:
            AuthorityError: something cannot be read or written.
        """
        self._keyring.open()
        kept = self._keyring.load()
        self._signers = self._keyring.own()
        self._roots = {**(kept.roots if kept else {}), **_pems(self._signers)}
        state = kept.state if kept else None
        wanted = self._plug(now) if self.source else self._own(state, trust_domain, now)
        self._keep(self._settled(state or State(signing=wanted, since=now), wanted, now))
        if kept is not None:
            self._clear()

    def _clear(self) -> None:
        """Destroy keys of roots that are given up, or never were: somebody was killed meanwhile."""
        for root in self._signers.keys() - {self.state.signing, *self.state.trusted}:
            self._keyring.destroy(root)
            del self._signers[root]

    def look(self, now: float) -> None:
        """Take what changed in the files of the user's own authority, once they stand still.

        What does not fit together is told once, and what was in force stays.
        """
        if self.source is None:
            return
        mark, before = plugged.mark(self.source), self._look
        self._look = mark
        if mark != before or mark == self._mark:
            return
        try:
            self._replug(now)
        except AuthorityError as error:
            if self.problem != str(error):
                self.problem = str(error)
                _log.warning("authority not taken", path=str(self.source), error=self.problem)
        else:
            self._mark = mark

    def rotate(self, trust_domain: str, now: float, *, force: bool) -> None:
        """Begin a rotation to a new root of our own making.

        Raises:
            RefusedError: one is under way, or the root is the user's own.
            AuthorityError: it cannot be written.
        """
        if self.source is not None:
            raise RefusedError(
                f"the root is your own: put another authority into {self.source}, "
                "and the mesh goes over to it in the same phases"
            )
        if self.state.phase is not Phase.STEADY:
            raise RefusedError(
                f"a rotation is under way, in phase {self.state.phase.value}: "
                "wait for it, or abort it"
            )
        new = self._add(self._keyring.made(trust_domain, now))
        state = rotation.begun(self.state, new, now)
        self._keep(rotation.forced(state) if force else state)

    def move(self, before: State, state: State, actions: Sequence[Action]) -> bool:
        """Go over from one state of the rotation to another, and do what that asks for.

        False: the state is not what it was `before`, and nothing was done.

        Raises:
            AuthorityError: it cannot be written; the state is as it was.
        """
        if self.state != before:
            return False
        self._keep(state)
        if Action.FORGET in actions:
            self._keyring.destroy(before.other)
            self._signers.pop(before.other, None)
        return True

    def certificates(self) -> dict[str, x509.Certificate]:
        """The roots that are trusted, by fingerprint, the one that signs first."""
        found = [x509.load_pem_x509_certificate(one.encode()) for one in self.trusted]
        return {authority.fingerprint(one): one for one in found}

    def _own(self, state: State | None, trust_domain: str, now: float) -> str:
        """A root of our own making: the one that signs, the one there is, or a new one."""
        if state is not None and state.signing in self._signers:
            return state.signing
        if len(self._signers) == 1:
            return next(iter(self._signers))
        return self._add(self._keyring.made(trust_domain, now))

    def _plug(self, now: float) -> str:
        """Take the user's own authority; the fingerprint of its root."""
        assert self.source is not None  # noqa: S101 - asked for by those who looked
        self._mark = self._look = plugged.mark(self.source)
        return self._take(plugged.read(self.source, now))

    def _replug(self, now: float) -> None:
        """Take what is in the files now; another root is gone over to by a rotation.

        Raises:
            AuthorityError: it does not fit together, or has to wait.
        """
        assert self.source is not None  # noqa: S101 - see `look`
        found = plugged.read(self.source, now)
        root = authority.fingerprint(x509.load_pem_x509_certificate(found.signer.root.encode()))
        known = (self.state.signing, self.state.other)
        if root not in known and self.state.phase is not Phase.STEADY:
            raise AuthorityError(
                "a rotation is under way: put the third root there again when it is over"
            )
        self._take(found)
        self._keep(self._settled(self.state, root, now))
        self.problem = ""
        _log.info("authority taken", path=str(self.source))

    def _take(self, found: Plugged) -> str:
        self._others = found.roots[1:]
        return self._add(found.signer)

    def _add(self, signer: Signer) -> str:
        root = authority.fingerprint(x509.load_pem_x509_certificate(signer.root.encode()))
        self._signers[root] = signer
        self._roots[root] = signer.root
        return root

    def _settled(self, state: State, wanted: str, now: float) -> State:
        """The state in which `wanted` is the root that signs, or will be.

        A root whose key is gone cannot sign any longer: then the other one does at once.
        """
        has_key = state.signing in self._signers
        if state.signing == wanted:
            is_lost = state.phase is Phase.TRUSTING and state.other not in self._signers
            return State(signing=wanted, since=now) if is_lost else state
        if has_key and state.phase is Phase.TRUSTING and state.other == wanted:
            return state
        if has_key and state.phase in (Phase.STEADY, Phase.DROPPING):
            return rotation.begun(structs.replace(state, phase=Phase.STEADY), wanted, now)
        return State(phase=Phase.SIGNING, signing=wanted, other=state.signing, since=now)

    def _keep(self, state: State) -> None:
        kept = {one: self._roots[one] for one in (state.signing, state.other) if one}
        self._keyring.keep(Kept(state=state, roots=kept))
        # Others read both meanwhile: a phase must not be seen before the roots that it waits for.
        self.trusted = tuple(dict.fromkeys((*(kept[one] for one in state.trusted), *self._others)))
        self.state, self._roots = state, kept


def _pems(signers: dict[str, Signer]) -> dict[str, str]:
    return {root: signer.root for root, signer in signers.items()}
