"""Commands that a test runs to their end, wherever they run."""

from __future__ import annotations

import subprocess

from plait.base.processes import Command

_LONGEST = 60.0  # seconds


def output(command: Command) -> bytes:
    """What a command says that ends well, within a minute."""
    with command.launcher() as (launcher, request):
        done = subprocess.run(
            launcher, capture_output=True, check=False, timeout=_LONGEST, pass_fds=(request,)
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
