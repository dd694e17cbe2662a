"""Somebody who loads the page and looks at it."""

from __future__ import annotations

import http.client
import re
from collections import Counter
from http.cookies import SimpleCookie
from typing import NamedTuple
from urllib.parse import urlencode

NO_STARS, BLACK, RED, FAILED = "no stars", "black stars", "red stars", "reviews unavailable"

_SECONDS = 15.0  # that a page may take


class Seen(NamedTuple):
    """What a load showed: `reviews` is one of the four constants."""

    status: int
    reviews: str
    failures: tuple[str, ...] = ()


class Visitor:
    """One browser at ``HOST:PORT``, each load on a connection of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cookie = ""

    def sign_in(self, name: str) -> None:
        """Use the form on the page."""
        form = {"content-type": "application/x-www-form-urlencoded"}
        response, _ = self._ask("POST", "/login", urlencode({"username": name}), form)
        cookie = SimpleCookie(response.getheader("set-cookie", ""))
        self._cookie = "; ".join(f"{one.key}={one.coded_value}" for one in cookie.values())

    def load(self) -> Seen:
        """The page.

        Raises:
            OSError: nobody answers.
        """
        response, body = self._ask("GET", "/productpage")
        failures = tuple(re.findall(r'class="failure">([^<]*)<', body))
        color = re.search(r'class="stars (\w+)"', body)
        if response.status != 200 or any(one.startswith("reviews ") for one in failures):
            shown = FAILED
        else:
            shown = f"{color.group(1)} stars" if color else NO_STARS
        return Seen(response.status, shown, failures)

    def loads(self, count: int) -> Counter[str]:
        """How often each kind of reviews was seen."""
        return Counter(self.load().reviews for _ in range(count))

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection(self._address, timeout=_SECONDS)
        try:
            cookie = {"cookie": self._cookie} if self._cookie else {}
            connection.request(method, path, body, {**cookie, **(headers or {})})
            response = connection.getresponse()
            return response, response.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"no answer from {self._address}: {error!r}") from error
        finally:
            connection.close()
