"""Secrets that proxies show and trust: where they are, and whether they can be used.

Whoever plans listeners reads only whether a Secret is good, so that a new certificate reaches the
proxies as a new secret and changes nothing else.
"""

from __future__ import annotations

from typing import Final

from plait.base.query import Query
from plait.config import credentials
from plait.config.credentials import Flaw, Pair, Roots
from plait.config.kinds.secret import Secret
from plait.config.meta import Key, Object
from plait.mesh import tls

KUBERNETES: Final = "kubernetes://"
"""What the names of secrets begin with that are objects, as in Istio."""
AUTHORITIES: Final = "-cacert"
"""What the name of a secret ends with that says whom to trust, as in Istio."""


def pair(q: Query, namespace: str, name: str) -> Pair | Flaw:
    """The certificate and key of the Secret `name`."""
    values = _values(q, namespace, name)
    return Flaw("", "does not exist") if values is None else credentials.pair(values)


def roots(q: Query, namespace: str, name: str) -> Roots | Flaw:
    """Whom ``NAME-cacert`` says to trust: that Secret, else the one without the ending."""
    values = _values(q, namespace, name)
    if values is None:
        values = _values(q, namespace, name.removesuffix(AUTHORITIES))
    return Flaw("", "does not exist") if values is None else credentials.roots(values)


def secret(name: str) -> tls.Secret:
    """The secret that proxies ask the control plane for, by the name of an object."""
    return tls.Secret(f"{KUBERNETES}{name}", tls.Source.PLANE)


def trust(name: str) -> tls.Secret:
    """The secret that says whom to trust, by the name of the object of the certificate."""
    return secret(f"{name}{AUTHORITIES}")


def object_name(one: tls.Secret) -> str:
    """The object in which a secret is looked for, or last looked for."""
    return one.name.removeprefix(KUBERNETES).removesuffix(AUTHORITIES)


def needed(one: tls.Secret) -> str:
    """The object that would do, to be written by who lacks it."""
    whole = "with ca.crt" if _says_trust(one) else "of type kubernetes.io/tls"
    return f'Secret "{object_name(one)}" {whole}'


def _says_trust(one: tls.Secret) -> bool:
    """Whether a secret says whom to trust; else it is a certificate with its key."""
    return one.name.endswith(AUTHORITIES)


def lack(q: Query, namespace: str, one: tls.Secret) -> str:
    """Why a secret of the control plane cannot be used; empty: it can."""
    name = one.name.removeprefix(KUBERNETES)
    return q(lacks_roots if _says_trust(one) else lacks_pair, namespace, name)


def lacks_pair(q: Query, namespace: str, name: str) -> str:
    """Why the certificate of a Secret cannot be shown; empty: it can."""
    return _said(q(pair, namespace, name))


def lacks_roots(q: Query, namespace: str, name: str) -> str:
    """Why a Secret does not say whom to trust; empty: it does."""
    return _said(q(roots, namespace, name))


def _said(found: Pair | Roots | Flaw) -> str:
    return f"{found.name} {found.problem}".strip() if isinstance(found, Flaw) else ""


def _values(q: Query, namespace: str, name: str) -> dict[str, bytes] | None:
    key = Key(group="", kind="Secret", namespace=namespace, name=name)
    found: Object[Secret] | None = q.row("Secret", key)
    return None if found is None else found.spec.values
