"""Where servers listen, and what those of gRPC bear."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

from plait.base.errors import AddressInUseError

_MESSAGE = 64 * 1024 * 1024  # bytes of a request; a reconnecting Envoy names all it holds
OPTIONS = (
    ("grpc.so_reuseport", 0),
    # A thousand proxies may connect at once: the default refuses them at random.
    ("grpc.server.max_pending_requests", 50_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.max_receive_message_length", _MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    # Envoy pings every 30 s and oftener when told to; that is no attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # A client whose machine vanished is noticed within 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Who connects and says nothing is sent away.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # The agent of a machine has streams for all its proxies on one connection.
    ("grpc.max_concurrent_streams", 10_000),
)
"""Of a server for who is on this machine."""
_BOUNDED = {
    **dict(OPTIONS),
    "grpc.max_connection_idle_ms": 60_000,
    "grpc.max_metadata_size": 16 * 1024,
    "grpc.max_connection_age_grace_ms": 10_000,
}
MEMBERS = tuple(
    {
        **_BOUNDED,
        "grpc.max_concurrent_streams": 100,
        # A certificate is looked at when a client connects; so it connects anew every hour.
        "grpc.max_connection_age_ms": 3_600_000,
    }.items()
)
"""Of a server that clients with a certificate of the mesh may use."""
STRANGERS = tuple(
    {
        **_BOUNDED,
        "grpc.max_concurrent_streams": 10,
        "grpc.max_receive_message_length": 64 * 1024,
        "grpc.max_connection_age_ms": 60_000,
    }.items()
)
"""Of a server that everybody may use."""


def is_private(address: str) -> bool:
    """Whether only our own user can reach it: nobody else may enter the socket's directory."""
    if not address.startswith("unix:"):
        return False
    path = Path(address.removeprefix("unix:"))
    free(path)
    found = path.absolute().parent.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def bind(server: Any, address: str, credentials: Any = None) -> str:
    """Add an address to the server, with TLS if there are `credentials`.

    Returns the address with the port that was chosen.

    Raises:
        AddressInUseError: another process listens there.
    """
    is_path = address.startswith("unix:")
    if is_path:
        free(Path(address.removeprefix("unix:")))
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        hint = "stop the process that has it, or choose another address"
        raise AddressInUseError(f'cannot listen at "{address}": {hint} ({error})') from error
    return address if is_path else f"{address.rpartition(':')[0]}:{port}"


def free(path: Path) -> None:
    """Make room for a socket: its directory is there, and one that nobody listens at is not.

    Raises:
        AddressInUseError: another process listens there, or it is no socket.
        OSError: the directory cannot be made.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise AddressInUseError(f'cannot listen at "unix:{path}": it is a file, remove it')
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError:  # such as one that is too busy to take it
            pass
    raise AddressInUseError(
        f'cannot listen at "unix:{path}": another process does. Stop it, or choose another path'
    )
