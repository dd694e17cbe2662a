"""The API as the command line uses it: standard library only, so that it starts fast."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import click

from plait.base import unix_http

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
_NAMES_DIFFER = (62, 64)  # OpenSSL's codes: of a name, of an address
_HERE = ("127.0.0.1", "localhost", "[::1]")  # nobody else reads what is said there
PATIENCE = 30.0
"""Seconds that an answer may take where nothing else is said."""


class Answer(NamedTuple):
    """An answer of the API; `warnings` are its Warning headers' texts."""

    status: int
    body: Any
    warnings: tuple[str, ...]


class Resource(NamedTuple):
    """A kind as the API knows it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short: tuple[str, ...]

    @property
    def label(self) -> str:
        """``virtualservice.networking.istio.io``, as kubectl names it."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def path(self, namespace: str | None, name: str = "") -> str:
        """Path of an object, or of all of a namespace; None: of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{quote(name)}" if name else "")


class AwayError(click.ClickException):
    """Nobody answers, or who answered is gone."""


class RefusedError(click.ClickException):
    """The API refused a request, in its own words."""

    def __init__(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, dict) else {}
        super().__init__(str(body.get("message") or f"the API answered {answer.status}"))
        self.answer = answer

    @property
    def is_missing(self) -> bool:
        """Whether there is no such object."""
        return self.answer.status == http.HTTPStatus.NOT_FOUND

    @property
    def details(self) -> list[dict[str, Any]]:
        """The single causes, if the API told them."""
        body = self.answer.body if isinstance(self.answer.body, dict) else {}
        return list((body.get("details") or {}).get("causes") or ())


class Client:
    """The API at ``http://host:port``, ``https://host:port`` or ``unix:PATH``.

    Args:
        server: its address.
        token: shown with each request; None: nothing is.
        authority: file of the certificates by which the server is known; None: the system's.
    """

    def __init__(self, server: str, token: str | None = None, authority: str | None = None) -> None:
        self.server = server
        self._token = token
        self._authority = authority
        self._resources: list[Resource] | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """One request; its answer may take `patience` seconds.

        Raises:
            ClickException: nobody answers there, or not as the API does.
            RefusedError: the answer is an error.
        """
        with self._answered(_Request(method, path, body, query, headers, patience)) as response:
            answer = self._read(response)
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise RefusedError(answer)
        if isinstance(answer.body, bytes):
            raise click.ClickException(f"what answers at {self.server} is no control plane")
        return answer

    def follow(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The events of a watch, until it is ended there.

        Raises:
            ClickException: as `ask`.
        """
        watch = _Request("GET", path, None, {**query, "watch": "1"}, headers, patience=None)
        with self._answered(watch) as response:
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise RefusedError(self._read(response))
            while line := response.readline():
                line = line.removeprefix(b"data:").strip()
                if line.startswith((b"{", b"[")):
                    yield json.loads(line)

    def stream(
        self, path: str, query: Mapping[str, Any], warn: Callable[[Iterable[str]], None]
    ) -> Iterator[bytes]:
        """The lines of a text as they come, for as long as it takes; warnings before the first.

        Raises:
            ClickException: as `ask`.
        """
        with self._answered(_Request("GET", path, None, query, None, patience=None)) as response:
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise RefusedError(self._read(response))
            warn(_warnings(response))
            while line := response.readline():
                yield line

    def resources(self) -> list[Resource]:
        """Every kind that the API serves, in its preferred version."""
        if self._resources is None:
            found: list[Resource] = []
            for root in ("/api", "/apis"):
                groups = self.ask("GET", root, headers={"Accept": DISCOVERY}).body["items"]
                for group in groups:
                    found += _listed(group)
            self._resources = found
        return self._resources

    def resource(self, said: str) -> Resource:
        """The kind that a user means: its plural, singular, short name or Kind, with a group."""
        word, _, group = said.lower().partition(".")
        for one in self.resources():
            names = (one.plural, one.singular, one.kind.lower(), *one.short)
            if word in names and (not group or group in (one.group, f"{one.version}.{one.group}")):
                return one
        known = ", ".join(sorted(one.plural for one in self.resources()))
        raise click.ClickException(f'there is no kind "{said}"; known are: {known}')

    def of_kind(self, document: Mapping[str, Any]) -> Resource:
        """The kind of a document, in the document's own version."""
        group, _, version = str(document.get("apiVersion", "")).rpartition("/")
        for one in self.resources():
            if (one.group, one.kind) == (group, document.get("kind")):
                return one._replace(version=version)
        raise click.ClickException(
            f"unknown kind {document.get('kind')} of {document.get('apiVersion')}"
        )

    @staticmethod
    def _read(response: http.client.HTTPResponse) -> Answer:
        data = response.read()
        is_json = "json" in (response.getheader("content-type") or "")
        body = json.loads(data) if is_json else data
        return Answer(response.status, body, _warnings(response))

    @contextmanager
    def _answered(self, asked: _Request) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(asked.patience)
        full = asked.path + (f"?{urlencode(asked.query, doseq=True)}" if asked.query else "")
        data = None if asked.body is None else json.dumps(asked.body)
        sent = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(
                asked.method, full, body=data, headers={**sent, **(asked.headers or {})}
            )
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            if doubt := _doubt(error):
                raise click.ClickException(f"{self.server} cannot be trusted: {doubt}") from error
            raise AwayError(
                f"no control plane answers at {self.server} ({_reason(error)}). "
                "Start one with: plait up DIRECTORY (again, if it was killed) or plait serve, "
                "or name another with --server"
            ) from error
        finally:
            connection.close()

    def _connection(self, patience: float | None) -> http.client.HTTPConnection:
        if self.server.startswith("unix:"):
            return unix_http.Connection(self.server.removeprefix("unix:"), patience)
        is_tls = self.server.startswith("https://")
        address = self.server.removeprefix("https://").removeprefix("http://").rstrip("/")
        with suppress(http.client.InvalidURL):
            if "/" not in address and is_tls:
                return _tls(address, patience, self._authority)
            if self._token and address.rpartition(":")[0] not in _HERE:
                raise click.ClickException(
                    f"a token is not shown to {self.server}: everybody on the way could read it. "
                    "Write https://, or leave PLAIT_TOKEN and --token out"
                )
            if "/" not in address:
                return http.client.HTTPConnection(address, timeout=patience)
        raise click.ClickException(
            f'"{address}" is no address of an API: write http(s)://HOST:PORT or unix:PATH'
        )


def _tls(
    address: str, patience: float | None, authority: str | None
) -> http.client.HTTPSConnection:
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise click.ClickException(
            f"cannot read the certificates in {authority}: {error.strerror or error}"
        ) from error
    return http.client.HTTPSConnection(address, timeout=patience, context=context)


def _doubt(error: Exception) -> str:
    """Why a server that answers is not known to be ours, and what to do; empty: that is not so."""
    import ssl  # whoever has such an error waited for it already

    if not isinstance(error, ssl.SSLCertVerificationError):
        return ""
    if error.verify_code in _NAMES_DIFFER:
        return f"{error.verify_message} Start it with --xds-name and the name that is used"
    return (
        f"{error.verify_message}. Where it runs, write its roots into a file, "
        "plait ca roots > roots.pem, and give that with --certificate-authority"
    )


class _Request(NamedTuple):
    method: str
    path: str
    body: Any
    query: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    patience: float | None  # seconds; None: for ever


def _listed(group: Mapping[str, Any]) -> list[Resource]:
    name = group["metadata"].get("name", "")
    newest = group["versions"][0]
    return [
        Resource(
            group=name,
            version=newest["version"],
            kind=one["responseKind"]["kind"],
            plural=one["resource"],
            singular=one.get("singularResource") or one["responseKind"]["kind"].lower(),
            namespaced=one["scope"] == "Namespaced",
            short=tuple(one.get("shortNames") or ()),
        )
        for one in newest["resources"]
        if "get" in one["verbs"]  # not what is asked by making it, such as a review
    ]


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or "it hung up"


def _warnings(response: http.client.HTTPResponse) -> tuple[str, ...]:
    return tuple(_text(w) for w in response.headers.get_all("warning") or ())


def _text(header: str) -> str:
    """The text of ``299 - "text"``."""
    return header.partition('"')[2].rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\")
