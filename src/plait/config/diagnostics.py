"""What plait tells a user about an object, each with a code that has a page in docs/codes."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from plait.config.meta import Key


class Severity(Enum):
    """How much a finding matters."""

    ERROR = "error"  # the named part is not in force
    WARNING = "warning"  # in force, but not as one would think
    INFO = "info"


class Diagnostic(Struct, frozen=True, kw_only=True):
    """One finding about one object.

    Attributes:
        code: such as ``PLT2004``; a key of `CODES`.
        path: the field, such as ``spec.http[0].route[1].destination.subset``; empty: the object.
        message: what is wrong, with the value, in lower case.
        hint: what to do about it.
        related: other objects that take part.
        locator: ``file:line:column`` of the field, where the source has lines; empty: unknown.
    """

    code: str
    severity: Severity
    subject: Key
    path: str = ""
    message: str
    hint: str = ""
    related: tuple[Key, ...] = ()
    locator: str = ""

    def __str__(self) -> str:
        """``PLT2004 spec.…: message. hint``, without the subject."""
        where = f"{self.path}: " if self.path else ""
        hint = f". {self.hint}" if self.hint else ""
        return f"{self.code} {where}{self.message}{hint}"


CODES: dict[str, str] = {
    # 1xxx: reading and storing
    "PLT1001": "document is not valid YAML or JSON",
    "PLT1002": "unknown kind",
    "PLT1003": "unknown field",
    "PLT1004": "duplicate field",
    "PLT1005": "wrong type or value",
    "PLT1006": "object is not valid by itself",
    "PLT1007": "field is not enforced yet",
    "PLT1008": "object is defined by two sources",
    "PLT1009": "object is defined twice in one source",
    "PLT1010": "source, or a part of it, cannot be read",
    "PLT1011": "stored Secret cannot be opened",
    "PLT1012": "certificate is not valid now",
    # 2xxx: routes and destinations
    "PLT2001": "destination host is unknown",
    "PLT2002": "destination port is unknown",
    "PLT2003": "destination has several ports and none is chosen",
    "PLT2004": "destination subset is unknown",
    "PLT2005": "host is already routed by an older object",
    "PLT2006": "rule can never match",
    "PLT2007": "gateway is unknown",
    "PLT2008": "gateway does not serve this host",
    # 3xxx: services, endpoints, visibility
    "PLT3001": "two listeners want one address",
    "PLT3002": "service has no endpoint",
    "PLT3003": "several objects apply where one is allowed",
    "PLT3004": "host of a traffic policy is unknown",
    "PLT3005": "subset selects no endpoint",
    "PLT3006": "address of a service is taken",
    "PLT3007": "server of a gateway has no usable certificate",
    "PLT3008": "proxy without an identity cannot be STRICT",
    "PLT3009": "destination rule names no usable Secret",
    # 9xxx: delivery, and our own faults
    "PLT9001": "an internal error keeps the last good value in force",
    "PLT9002": "Envoy refused the configuration",
}
"""Every code that plait may report, with its meaning in a few words."""
