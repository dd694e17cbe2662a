"""What proxies tell of the requests they served."""

from __future__ import annotations

from plait.base.query import Query
from plait.config.mesh_config import AccessLogEncoding
from plait.mesh import ir, scopes


def access_log(q: Query) -> ir.AccessLog | None:
    """Where requests are logged; None: nowhere, because no file is set."""
    settings = q(scopes.mesh_settings)
    if not settings.access_log_file:
        return None
    written = settings.access_log_format
    return ir.AccessLog(
        path=settings.access_log_file,
        json=settings.access_log_encoding is AccessLogEncoding.JSON,
        format=written,
    )


def detection_timeout(q: Query) -> float:
    """Seconds to wait for a caller's first bytes; 0: for ever."""
    return q(scopes.mesh_settings).protocol_detection_timeout
