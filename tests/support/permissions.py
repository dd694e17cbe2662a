"""A user whom permissions bind, also where the tests run as root."""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def nobodys_place() -> Iterator[Path]:
    """A directory of nobody's, while this process has nobody's rights.

    It is not below pytest's own directory, which is closed to others.
    """
    codecs.lookup("utf-8-sig")  # is read from a file of Python's that root alone may read
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        if user == 0:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
