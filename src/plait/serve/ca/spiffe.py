"""Identities as SPIFFE ids, in the form of Istio: ``spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT``."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

_NAME: Final = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_DOMAIN: Final = r"[a-z0-9](?:[-a-z0-9_.]{0,253}[a-z0-9])?"  # as `config.validate_tls` takes it
_FORM: Final = re.compile(f"spiffe://({_DOMAIN})/ns/({_NAME})/sa/({_NAME})")


class Identity(Struct, frozen=True, kw_only=True):
    """Who a workload is: a service account in a trust domain."""

    trust_domain: str
    namespace: str
    account: str

    def __str__(self) -> str:
        """The SPIFFE id."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.account}"


def parse(text: str) -> Identity | None:
    """The identity that a SPIFFE id names; None: it is none of this form."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    trust_domain, namespace, account = found.groups()
    return Identity(trust_domain=trust_domain, namespace=namespace, account=account)
