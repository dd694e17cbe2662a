"""Errors of the environment; a user's mistakes are diagnostics, and ours are bugs.

::

    PlaitError                   shown to the user as one line, without a traceback
    ├── SettingsError            a flag, variable or settings file is wrong
    ├── SourceUnavailableError   a source cannot be reached
    ├── StoreError
    │   ├── StoreCorruptError    the database cannot be read; nothing was changed
    │   ├── StoreFullError       a write could not be made durable; nothing was changed
    │   ├── ConflictError        the object is no longer what the writer thought
    │   └── ExpiredError         the revision asked for is no longer kept
    ├── AddressInUseError        a port or socket is taken
    ├── AuthorityError           the certificate authority lacks what it signs with
    ├── BusyError                too many ask at once; they may ask again
    ├── RefusedError             somebody may not have the certificate that they ask for
    │   ├── UnknownCallerError   they show nothing, or nothing good, that says who they are
    │   └── BadRequestError      what they ask for is no certificate of this mesh
    └── PlatformError            this machine cannot run Pods, or one of them
"""

from __future__ import annotations


class PlaitError(Exception):
    """Something in the environment is wrong; the message says what and the way out."""


class SettingsError(PlaitError):
    """A flag, an environment variable or a settings file is wrong."""


class SourceUnavailableError(PlaitError):
    """A source cannot be reached; what it said last stays in force."""


class StoreError(PlaitError):
    """The store could not do what was asked."""


class StoreCorruptError(StoreError):
    """The database cannot be read; its files are left as they are."""


class StoreFullError(StoreError):
    """A write could not be made durable; nothing was changed."""


class ConflictError(StoreError):
    """The object is no longer what the writer thought it was."""


class ExpiredError(StoreError):
    """The revision asked for is no longer kept: list again."""


class AddressInUseError(PlaitError):
    """A port or a socket is taken by another process."""


class AuthorityError(PlaitError):
    """The certificate authority lacks what it signs with: keys, certificates, files."""


class BusyError(PlaitError):
    """Too many ask at once; they may ask again after a moment."""


class RefusedError(PlaitError):
    """Somebody may not have the certificate that they ask for; the message has no secrets."""


class UnknownCallerError(RefusedError):
    """Who asks shows nothing that says who they are, or nothing that is good."""


class BadRequestError(RefusedError):
    """What is asked for is not a certificate as this mesh gives them."""


class PlatformError(PlaitError):
    """This machine lacks something that Pods need."""
