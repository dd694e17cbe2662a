"""Who asks for a certificate: the agent of this machine, a bearer of a token, or a workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

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
from plait.serve.ca.tokens import Tokens

_OVER = ("Succeeded", "Failed")


class MeshAttestor:
    """Knows the Pods of this machine, the join tokens, and the certificates of the mesh.

    Args:
        store: where Pods are looked up.
        runs_here: whether a Pod is run by this machine.
        tokens: the join tokens.
    """

    def __init__(self, store: Store, runs_here: Callable[[Key], bool], tokens: Tokens) -> None:
        self._store = store
        self._runs_here = runs_here
        self._tokens = tokens
        self._clock = store.clock

    async def attest(self, evidence: Evidence) -> str:
        """See `Attestor`."""
        match evidence:
            case TrustedAgent(pod=pod, identity=identity):
                return self._of_pod(pod, identity)
            case BearerToken(token=token):
                return self._of_token(token)
            case PeerCertificate(pem=pem):
                return self._of_certificate(pem)
            case _ as never:
                assert_never(never)

    def spend(self, evidence: Evidence) -> None:
        """See `Attestor`.

        Raises:
            AuthorityError: that a token is used cannot be noted.
        """
        if isinstance(evidence, BearerToken):
            self._tokens.spend(evidence.token, self._clock.now())

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

    def _of_token(self, text: str) -> str:
        if not text.startswith(tokens.PREFIX):
            raise UnknownCallerError("the token is of no kind that is known here")
        token = self._tokens.check(text, self._clock.now())
        return str(self._identity(token.namespace, token.account))

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
