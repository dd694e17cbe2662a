"""The certificate service over gRPC: who asks is found out, and what is refused is told once."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

import grpc
import structlog

from plait.base.errors import (
    BadRequestError,
    BusyError,
    PlaitError,
    RefusedError,
    UnknownCallerError,
)
from plait.base.once import Once
from plait.config.ports import BearerToken, Evidence, PeerCertificate, TrustedAgent
from plait.xds import certificates
from plait.xds.certificates import CertificateRequest
from plait.xds.wire import Malformed

_BEARER: Final = "bearer "
_QUOTED: Final = re.compile(r'"[^"]*"')
_POD: Final = re.compile(r"[-a-z0-9.]{1,253}/[-a-z0-9.]{1,253}")
_CODES: Final = (
    (BadRequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (UnknownCallerError, grpc.StatusCode.UNAUTHENTICATED),
    (RefusedError, grpc.StatusCode.PERMISSION_DENIED),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (PlaitError, grpc.StatusCode.UNAVAILABLE),
)
_log = structlog.get_logger(__name__)


class Desk(Protocol):
    """Who gives the certificates."""

    async def grant(self, request: CertificateRequest, evidence: Evidence) -> tuple[str, ...]:
        """The chain for a request, in PEM.

        Raises:
            RefusedError: not for who asks, or not as it is asked for.
            BusyError: too many ask at once.
            AuthorityError: nothing can be signed now.
        """
        ...


class Service:
    """The method of the service on one server.

    Args:
        desk: gives the certificates.
        trusts: whoever reaches the server is the agent of this machine: only our own user can.
    """

    def __init__(self, desk: Desk, *, trusts: bool) -> None:
        self._desk = desk
        self._trusts = trusts
        self._told = Once()
        self._handler = grpc.unary_unary_rpc_method_handler(self._answer)

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call; None: no such method."""
        return self._handler if handler_call_details.method == certificates.METHOD else None

    async def _answer(self, data: bytes, context: Any) -> bytes:
        caller = _address(context.peer())
        try:
            evidence = None if self._trusts else _shown(context)
            request = _read(data)
            if evidence is None:
                evidence, caller = _of_agent(request), _pod(request)
            return certificates.response(await self._desk.grant(request, evidence))
        except PlaitError as error:
            self._tell(caller, error)
            await context.abort(_code(error), str(error))
            raise  # abort raises before this

    def _tell(self, caller: str, error: PlaitError) -> None:
        """Log a refusal, once for each caller and cause."""
        cause = (caller, _QUOTED.sub("", str(error)))
        if isinstance(error, RefusedError) and self._told.say(cause):
            _log.warning("certificate refused", address=caller, error=str(error))


def _read(data: bytes) -> CertificateRequest:
    if len(data) > certificates.LONGEST:
        raise BadRequestError(f"a request has at most {certificates.LONGEST} bytes")
    try:
        return certificates.read_request(data)
    except Malformed as error:
        raise BadRequestError(f"the request cannot be read: {error}") from error


def _shown(context: Any) -> Evidence:
    """What a caller on the network shows: a token counts more than a certificate."""
    for key, value in context.invocation_metadata() or ():
        if key == certificates.CREDENTIAL and isinstance(value, str):
            if value[: len(_BEARER)].lower() != _BEARER:
                break
            return BearerToken(token=value[len(_BEARER) :].strip())
    found = context.auth_context().get("x509_pem_cert")
    if found:
        return PeerCertificate(pem=found[0])
    raise UnknownCallerError("show a bearer token, or a certificate of the mesh")


def _of_agent(request: CertificateRequest) -> TrustedAgent:
    said = request.metadata
    return TrustedAgent(
        pod=said.get(certificates.POD, ""), identity=said.get(certificates.IDENTITY, "")
    )


def _pod(request: CertificateRequest) -> str:
    """The Pod that an agent asks for, as far as it can be the name of one."""
    said = request.metadata.get(certificates.POD, "")
    return said if _POD.fullmatch(said) else "agent"


def _code(error: Exception) -> Any:
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _address(peer: str) -> str:
    """A peer without its port, which is another one each time."""
    return peer.rpartition(":")[0] if peer.startswith("ipv") else peer
