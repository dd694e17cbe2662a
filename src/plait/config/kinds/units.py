"""Types of fields whose written form is not the form that is computed with."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(extra={"unit": "seconds"})]
"""A duration; written ``10s``, ``0.5s`` or ``1h2m3ms``."""

Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""A whole number of 32 bits, not negative."""

Octets = Annotated[bytes, Meta(extra={"unit": "base64"})]
"""Bytes; written in base64."""

IntOrString = int | str
"""A number, or a name or percentage in its place."""

Quantity = Annotated[str, Meta(extra={"unit": "quantity"})]
"""An amount as Kubernetes writes it, such as ``500m`` or ``1Gi``; a plain number is taken too."""

Time = Annotated[float, Meta(extra={"unit": "time"})]
"""Seconds since the epoch; written in RFC 3339, such as ``2026-01-01T00:00:00Z``."""
