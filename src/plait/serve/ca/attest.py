"""Who asks for a certificate: the agent of this machine, a bearer of a token, or a workload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, assert_never

from plait.base import pem
from plait.base.errors import RefusedError, UnknownCallerError
from plait.base.pem import UnreadableError
from plait.config import catalog, injection
from plait.config.kinds.pod import Pod
from plait.config.meta import Key, Object
from plait.config.ports import BearerToken, Evidence, PeerCertificate, TrustedAgent
from plait.config.store import Store
from plait.mesh import trust
from plait.serve.ca import authority, spiffe, tokens
from plait.serve.ca.spiffe import Identity
from plait.serve.ca.tokens import Token, Tokens

_OVER = ("Succeeded", "Failed")


class MeshAttestor:
    """Knows the Pods of this machine, the join tokens, and the certificates of the mesh.

    Args:
        store: where Pods are looked up.
        runs_here: whether a Pod is run by this machine.
        tokens: the join tokens.
        work: does something in the one thread that changes tokens.
    """

    def __init__(
        self,
        store: Store,
        runs_here: Callable[[Key], bool],
        tokens: Tokens,
        work: Callable[..., Awaitable[Any]],
    ) -> None:
        self._store = store
        self._runs_here = runs_here
        self._tokens = tokens
        self._work = work
        self._clock = store.clock

    def look(self, evidence: Evidence) -> None:
        """Send strangers away before they cost anything.

        Raises:
            UnknownCallerError: the evidence is a token that is not good.
        """
        if isinstance(evidence, BearerToken):
            if not evidence.token.startswith(tokens.PREFIX):
                raise UnknownCallerError("the token is of no kind that is known here")
            self._tokens.check(evidence.token, self._clock.now())

    async def attest(self, evidence: Evidence) -> str:
        """See `Attestor`."""
        match evidence:
            case TrustedAgent(pod=pod, identity=identity):
                return self._of_pod(pod, identity)
            case BearerToken(token=token):
                self.look(evidence)
                return await self._of_token(token)
            case PeerCertificate(pem=pem):
                return self._of_certificate(pem)
            case _ as never:
                assert_never(never)

    def _of_pod(self, said: str, wanted: str) -> str:
        namespace, _, name = said.partition("/")
        if not namespace or not name:
            raise RefusedError("an agent asks for a Pod: its namespace/name is missing")
        key = catalog.KINDS["Pod"].key(namespace, name)
        record = self._store.record(key)
        found: Object[Pod] | None = record.object if record else None
        if found is None or not self._runs_here(key):
            raise RefusedError(f'no Pod "{said}" runs on this machine')
        if found.spec.status is not None and found.spec.status.phase in _OVER:
            raise RefusedError(f'the Pod "{said}" has ended')
        if injection.proxy(found) is injection.Proxy.NONE:
            raise RefusedError(f'the Pod "{said}" has no proxy')
        identity = str(self._identity(namespace, account(found)))
        if wanted and wanted != identity:
            raise RefusedError(f'the Pod "{said}" is "{identity}", and not "{wanted}"')
        return identity

    async def _of_token(self, token: str) -> str:
        spent: Token = await self._work(self._tokens.spend, token, self._clock.now())
        return str(self._identity(spent.namespace, spent.account))

    def _of_certificate(self, text: bytes) -> str:
        """The identity of a certificate, whose chain the handshake has verified.

        One of a former trust domain, which is an alias now, is renewed in the mesh's own.
        """
        try:
            found = pem.certificates(text)[0]
        except UnreadableError as error:
            raise UnknownCallerError("the certificate names nobody of this mesh") from error
        identity = spiffe.parse(pem.uri(found))
        known = self._store.engine.get(trust.domains)
        if identity is None or identity.trust_domain not in known:
            raise UnknownCallerError("the certificate names nobody of this mesh")
        if authority.expiry(found) <= self._clock.now():
            raise UnknownCallerError("the certificate has expired: join anew, with a token")
        return str(self._identity(identity.namespace, identity.account))

    def _identity(self, namespace: str, name: str) -> Identity:
        return Identity(trust_domain=self._domain(), namespace=namespace, account=name)

    def _domain(self) -> str:
        return self._store.engine.get(trust.domain)


def account(found: Object[Pod]) -> str:
    """The service account of a Pod; ``default`` where it names none, as in Kubernetes."""
    spec = found.spec.spec
    return spec.service_account_name or spec.service_account or "default"
