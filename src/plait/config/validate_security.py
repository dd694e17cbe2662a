"""Rules about one Secret or PeerAuthentication alone."""

from __future__ import annotations

from typing import Final

from plait.config import syntax
from plait.config.diagnostics import Severity
from plait.config.document import Path
from plait.config.finding import Finding, invalid, shown
from plait.config.kinds.peer_authentication import PeerAuthentication
from plait.config.kinds.secret import Secret
from plait.config.meta import Object
from plait.config.syntax import Findings
from plait.config.validate_pods import LARGEST, value_name

_NEEDED: Final = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}


def secret(found: Object[Secret], path: Path) -> Findings:
    """All that is wrong with a Secret; no finding shows a value."""
    # what reads certificates takes its time to import, and is seldom needed by the command line
    from plait.config import credentials

    values = found.spec.values
    for name in sorted(values):
        field = "data" if name in found.spec.data else "stringData"
        yield from value_name(name, (*path, field, name))
    size = sum(len(value) for value in values.values())
    if size > LARGEST:
        hint = f"all values together may have {LARGEST} bytes"
        yield invalid((*path, "data"), f"the values have {size} bytes", hint)
    for flaw in credentials.flaws(values):
        hint = "a certificate and its key in PEM, the certificate of the server first"
        yield invalid((*path, "data", flaw.name), f"{flaw.name} {flaw.problem}", hint)
    for flaw in credentials.warnings(values):
        yield Finding(
            code="PLT1012",
            severity=Severity.WARNING,
            path=(*path, "data", flaw.name),
            message=f"{flaw.name} {flaw.problem}",
            hint="clients refuse it: renew it",
        )
    for name in _NEEDED.get(found.spec.type, ()):
        if name not in values:
            hint = f"write it, it may be empty; or remove type: {found.spec.type}"
            yield invalid((*path, "data", name), f"{name} is missing", hint)


def peer_authentication(found: Object[PeerAuthentication], path: Path) -> Findings:
    """All that is wrong with a PeerAuthentication."""
    spec = found.spec
    labels = spec.selector.match_labels if spec.selector else {}
    here = (*path, "selector", "matchLabels")
    yield from syntax.labels({k: v for k, v in labels.items() if "*" not in k + v}, here)
    for name, value in labels.items():
        if "*" in name + value:
            message = f"{shown(f'{name}: {value}')} is no label: wildcards are not possible"
            yield invalid((*here, name), message, "write the labels of the workloads in full")
    here = (*path, "portLevelMtls")
    if spec.port_level_mtls and not labels:
        hint = "select workloads by their labels, or move the mode to mtls"
        yield invalid(here, "ports need a selector", hint)
    for number in spec.port_level_mtls:
        if number.isascii() and number.isdecimal() and len(number) <= 5:
            yield from syntax.port(int(number), (*here, number))
        else:
            hint = "a number from 1 to 65535"
            yield invalid((*here, number), f"{shown(number)} is no port", hint)
