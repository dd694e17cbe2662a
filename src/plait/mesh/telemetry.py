"""What proxies tell of the requests they served, and how they read them."""

from __future__ import annotations

from typing import assert_never

from plait.base.query import Query
from plait.config.mesh_config import AccessLogEncoding, Normalization
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


def paths(q: Query) -> ir.Paths:
    """How paths of requests are normalised."""
    match q(scopes.mesh_settings).path_normalization.normalization:
        case Normalization.NONE:
            return ir.Paths.AS_WRITTEN
        case Normalization.DEFAULT | Normalization.BASE:
            return ir.Paths.RESOLVED
        case Normalization.MERGE_SLASHES:
            return ir.Paths.MERGED
        case Normalization.DECODE_AND_MERGE_SLASHES:
            return ir.Paths.DECODED
        case _ as never:
            assert_never(never)


def detection_timeout(q: Query) -> float:
    """Seconds to wait for a caller's first bytes; 0: for ever."""
    return q(scopes.mesh_settings).protocol_detection_timeout
