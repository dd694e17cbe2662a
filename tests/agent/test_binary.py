from __future__ import annotations

import os
import subprocess
import sys

from plait.agent.binary import envoy_binary


def test_it_is_a_program_that_says_it_is_envoy():
    path = envoy_binary()

    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)

    assert os.access(path, os.X_OK)
    assert "/1.40." in done.stdout


def test_finding_it_does_not_import_the_package_envoy():
    script = (
        "import sys; from plait.agent.binary import envoy_binary; envoy_binary();"
        "print('envoy' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
