"""What an operator may choose: defaults, then a TOML file, then PLAIT_* variables, then flags.

The one module that reads the environment.  The file is ``PLAIT_SETTINGS`` or the flag of that
name, else ``settings.toml`` in ``~/.config/plait`` (``/etc/plait`` for root), if it is there.
Its keys are the fields of `Settings`, a variable's name is ``PLAIT_`` and the field in capitals;
several addresses in a variable are separated by commas.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from plait.base.errors import SettingsError
from plait.base.log import FORMATS, LEVELS
from plait.base.place import Place

PREFIX = "PLAIT_"
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of the control plane, and the client's address of it.

    Attributes:
        data: directory of the database, sockets and the lock.
        xds: where proxies are served: ``host:port`` or ``unix:PATH``.
        api: where the API is served, likewise.
        xds_tls: ``host:port`` where proxies of other machines are served that have a certificate
            of the mesh; `join`: where machines get their first one.
        xds_name: more names of this control plane that its certificates are for.
        insecure_xds: `xds` may be open to other machines, without telling who asks.
        api_user: names or numbers of more users of this machine who may use the API at loopback;
            ``*``: all of them.
        api_tls: TCP addresses of the API want TLS and tokens.
        api_cert, api_key: files of its certificate chain and key; None: the mesh's own.
        files: a directory, or one file, of objects to follow; None: objects come by the API only.
        mesh_config: file of MeshConfig to follow; None: defaults.
        log_level: a key of `base.log.LEVELS`; `log_format`: one of `base.log.FORMATS`.
        push_least: seconds that the starts of two pushes are apart while changes keep coming, at
            least; `push_most`: at most, however costly a push is.
        keep_revisions: old revisions kept for history, diff and resumed watches.
        source_deadline: seconds after which proxies are answered without a source's first word.
        server: address of the API for the command line; None: that of the local control plane.
        token, certificate_authority: what the command line shows there, and the file of the
            certificates by which it knows the server; None: nothing, and those of the system.
        local: run the workloads on this machine.
        images: file that says what the images of workloads are; None: no image is known.
        ca_dir: directory of a certificate authority of one's own (ca-cert.pem, ca-key.pem,
            cert-chain.pem, root-cert.pem); None: a root is made.
        certificate_life: seconds for which identities are valid: as a rule, and at most.
        rotation_grace: seconds for which the rotation of a root waits for proxies that are not
            connected before it signs with the new one.
    """

    data: Path
    xds: tuple[str, ...]
    api: tuple[str, ...] = ("127.0.0.1:15080",)
    xds_tls: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    xds_name: tuple[str, ...] = ()
    insecure_xds: bool = False
    api_user: tuple[str, ...] = ()
    api_tls: bool = False
    api_cert: Path | None = None
    api_key: Path | None = None
    files: Path | None = None
    mesh_config: Path | None = None
    log_level: str = "info"
    log_format: str = "auto"
    push_least: float = 0.010
    push_most: float = 0.200
    keep_revisions: int = 100_000
    source_deadline: float = 10.0
    server: str | None = None
    token: str | None = None
    certificate_authority: Path | None = None

    local: bool = False
    images: Path | None = None
    ca_dir: Path | None = None
    certificate_life: float = 86_400.0
    rotation_grace: float = 300.0

    @property
    def ca(self) -> Path:
        """Where the certificate authority keeps its keys, for our own user alone."""
        return self.data / "ca"

    @property
    def agent_socket(self) -> Path:
        """Where the agent of this machine is served, in a directory for our own user alone."""
        return self.data / "agent" / "xds.sock"

    def __repr__(self) -> str:
        """Without the token."""
        return f"Settings(data={str(self.data)!r})"

    @property
    def place(self) -> Place:
        """Where workloads run, if they run here."""
        return Place(self.data / "run")

    @property
    def api_note(self) -> Path:
        """Where a running control plane writes down the address of its API."""
        return self.data / "api.address"


def quiet_grpc() -> None:
    """Keep gRPC's C++ half from writing to the error stream; what fails is said by plait.

    Only of use before gRPC is imported.  Who sets GRPC_VERBOSITY wants to read it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251 - the one place


def server(flag: str | None) -> str:
    """Where the command line finds the API: ``http://host:port`` or ``unix:PATH``.

    The flag, PLAIT_SERVER or the settings file; else what a control plane on this machine wrote
    into its data directory; else the default address.

    Raises:
        SettingsError: as `load`.
    """
    found = load({"server": flag})
    said = found.server
    if said is None:
        said = _noted(found.api_note, local_data() / found.api_note.name) or found.api[0]
    return said if said.startswith(("http://", "https://", "unix:")) else f"http://{said}"


def credentials(flags: Mapping[str, Any]) -> tuple[str | None, Path | None]:
    """The token and the file of certificates of the command line, as `load` finds them.

    Raises:
        SettingsError: as `load`.
    """
    found = load(flags)
    return found.token, found.certificate_authority


def passed_on() -> dict[str, str]:
    """Variables of ours that programs of the mesh have too."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}  # noqa: TID251


def became_root() -> tuple[str, ...]:
    """The number of the user who became root to start us; nobody: empty."""
    before = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""  # noqa: TID251
    return (before,) if before.isascii() and before.isdigit() else ()


def local_data() -> Path:
    """The directory of ``plait up`` where no other is said: PLAIT_DATA, or one of its own."""
    environ = os.environ  # noqa: TID251 - the one place
    named = environ.get(f"{PREFIX}DATA")
    return Path(named) if named else data_directory(environ) / "local"


def _noted(*notes: Path) -> str:
    """The first address that stands in one of these files; empty: in none."""
    for note in notes:
        try:
            return note.read_text().strip()
        except OSError:
            continue
    return ""


def load(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force.

    Args:
        flags: by field name; None: not given.  ``settings`` names the file.
        environ: variables; None: those of this process.

    Raises:
        SettingsError: a value is wrong; the message says where it comes from.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251 - the one place
    values: dict[str, Any] = {}
    for place, given in (
        *_file(flags, environ),
        ("", _variables(environ)),
        ("flag", {k: v for k, v in flags.items() if v not in (None, ()) and k != "settings"}),
    ):
        for name, value in given.items():
            values[name] = _parsed(name, value, _origin(place, name))
    data = values.setdefault("data", data_directory(environ))
    values.setdefault("xds", ("127.0.0.1:15010", f"unix:{data / 'xds.sock'}"))
    _check(values)
    return Settings(**values)


def data_directory(environ: Mapping[str, str]) -> Path:
    """The default data directory: the system's for root, else the user's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/plait")
    state = environ.get("XDG_STATE_HOME") or _home(environ) / ".local" / "state"
    return Path(state) / "plait"


def _file(flags: Mapping[str, Any], environ: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """The settings file as (its path, its values); nothing where there is none."""
    named = flags.get("settings") or environ.get(f"{PREFIX}SETTINGS")
    path = Path(named) if named else _default_file(environ)
    if not named and not path.exists():
        return []
    import tomllib  # the command line, which seldom needs it, is in a hurry

    try:
        return [(str(path), tomllib.loads(path.read_text()))]
    except OSError as error:
        raise SettingsError(f"cannot read settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not valid TOML: {error}") from error


def _default_file(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/etc/plait/settings.toml")
    base = environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config"
    return Path(base) / "plait" / "settings.toml"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that name a field and are not empty; others may belong to somebody else."""
    named = {name: environ.get(PREFIX + name.upper(), "") for name in _PARSERS}
    return {name: value for name, value in named.items() if value}


def _origin(place: str, name: str) -> str:
    if place == "":
        return PREFIX + name.upper()
    return f"--{name.replace('_', '-')}" if place == "flag" else place


def _parsed(name: str, value: Any, origin: str) -> Any:
    parse = _PARSERS.get(name)
    if parse is None:
        import difflib

        near = difflib.get_close_matches(name, _PARSERS, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"known are: {', '.join(_PARSERS)}"
        raise SettingsError(f'{origin}: unknown setting "{name}"; {hint}')
    try:
        return parse(value)
    except ValueError as error:
        said = ", ".join(_wrong(parse, value)) if isinstance(value, list | tuple) else value
        raise SettingsError(f'{origin}: {name} must be {error}, not "{said}"') from None


def _wrong(parse: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[str]:
    """Those of several that are wrong by themselves."""
    for value in values:
        try:
            parse([value])
        except ValueError:
            yield str(value)


def _check(values: Mapping[str, Any]) -> None:
    least, most = values.get("push_least", 0.010), values.get("push_most", 0.200)
    if least > most:
        raise SettingsError(f"push_least ({least}) must not be greater than push_most ({most})")
    if ("api_cert" in values) != ("api_key" in values):
        raise SettingsError("api_cert and api_key go together: give both, or none")


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("a path")
    return Path(value).expanduser()


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text that is not empty")
    return value


def _addresses(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError("a list of addresses")
    return tuple(_address(part.strip()) for part in parts)


def _ports(value: Any) -> tuple[str, ...]:
    found = _addresses(value)
    if any(one.startswith("unix:") for one in found):
        raise ValueError("host:port: a Unix socket needs no TLS")
    return found


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(
        isinstance(part, str) and part.strip() and part.isascii() for part in parts
    ):
        raise ValueError("a list of names or IP addresses")
    return tuple(part.strip() for part in parts)


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    is_socket = text.startswith("unix:") and len(text) > len("unix:")
    if not is_socket and not (host and colon and port.isascii() and port.isdigit()):
        raise ValueError("host:port or unix:PATH")
    if not is_socket and int(port) > 65535:
        raise ValueError("host:port with a port up to 65535")
    return text


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return parse


def _switch(value: Any) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = value if isinstance(value, bool) else known.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def _seconds(value: Any) -> float:
    try:
        found = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found <= 86_400:
        raise ValueError("a number of seconds from 0 to 86400")
    return found


def _life(value: Any) -> float:
    found = _seconds(value)
    if found < 1:
        raise ValueError("a number of seconds from 1 to 86400")
    return found


def _count(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError("a whole number, 0 or more")
    return int(text)


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "data": _path,
    "xds": _addresses,
    "api": _addresses,
    "xds_tls": _ports,
    "join": _ports,
    "xds_name": _names,
    "insecure_xds": _switch,
    "api_user": _names,
    "api_tls": _switch,
    "api_cert": _path,
    "api_key": _path,
    "files": _path,
    "mesh_config": _path,
    "log_level": _one_of(tuple(LEVELS)),
    "log_format": _one_of(FORMATS),
    "push_least": _seconds,
    "push_most": _seconds,
    "keep_revisions": _count,
    "source_deadline": _seconds,
    "server": _text,
    "token": _text,
    "certificate_authority": _path,
    "local": _switch,
    "images": _path,
    "ca_dir": _path,
    "certificate_life": _life,
    "rotation_grace": _seconds,
}
