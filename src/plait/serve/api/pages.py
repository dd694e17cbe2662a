"""What the API shows beside the objects: conditions, proxies, reasons; worked out elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from plait.base.place import Place
from plait.config.meta import Key
from plait.config.ports import Condition


class Pages(Protocol):
    """Read models; every answer is a struct or a plain value that msgspec can write as JSON."""

    def conditions(self, key: Key) -> Sequence[Condition]:
        """What holds for an object now, in a fixed order; it is asked in every read: be quick."""
        ...

    def follow_conditions(self, changed: Callable[[Key], None]) -> Callable[[], None]:
        """Call back with each object whose conditions may have changed.

        Returns:
            The way to stop.
        """
        ...

    def follow(self, page: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever the page ``proxies`` or ``status`` may have changed.

        Returns:
            The way to stop.
        """
        ...

    def proxies(self) -> Any:
        """Every connected proxy, and what of its configuration is not in sync."""
        ...

    def config(self, proxy: str, what: str) -> Any | None:
        """What a proxy is sent: listeners, routes, clusters, endpoints, bootstrap or all.

        None: no such part, or its first message has not come.

        Raises:
            LookupError: which proxy is meant is not clear, or it is not connected.
        """
        ...

    def why_resource(self, type_name: str, name: str, proxy: str) -> Any | None:
        """What a resource was made from, as a tree; None: there is no such resource.

        Raises:
            LookupError: which proxy is meant is not clear, or it is not connected.
        """
        ...

    def status(self) -> Any:
        """The mesh in one page: objects with findings, sources, proxies."""
        ...

    def mtls(self, place: Place | None) -> Any:
        """What each port asks of its callers, and who calls it in plain text: see `serve.mtls`."""
        ...

    async def delivered(self, revision: int) -> Any:
        """Return once every connected proxy has acknowledged all up to `revision`."""
        ...


class NoPages:
    """Pages of a control plane that serves no proxies."""

    def conditions(self, key: Key) -> Sequence[Condition]:
        """None."""
        del key
        return ()

    def follow_conditions(self, changed: Callable[[Key], None]) -> Callable[[], None]:
        """Never calls back."""
        del changed
        return lambda: None

    def follow(self, page: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Never calls back."""
        del page, changed
        return lambda: None

    def proxies(self) -> Any:
        """None."""
        return []

    def config(self, proxy: str, what: str) -> Any | None:
        """No proxy, no configuration."""
        return None if proxy or what else {}

    def why_resource(self, type_name: str, name: str, proxy: str) -> Any | None:
        """No resources."""
        return None if type_name or name or proxy else {}

    def status(self) -> Any:
        """Nothing to say."""
        return {}

    def mtls(self, place: Place | None) -> Any:
        """None."""
        del place
        return ()

    async def delivered(self, revision: int) -> Any:
        """At once: there is nobody to wait for."""
        return {"revision": revision, "proxies": 0}
