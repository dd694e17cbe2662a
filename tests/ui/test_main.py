"""How the command line behaves whatever the verb: help, errors, exit codes, what it imports."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from plait.ui.cli.main import VERBS, main
from tests.support.plane import PLAIT, ROOT, free_port

HEAVY = {"aiohttp", "envoy", "google", "grpc", "structlog", "uvloop", "yaml"}


def run(*arguments: str, home: Path | None = None, **variables: str) -> tuple[int, str, str]:
    environment = {**os.environ, **variables} | ({"HOME": str(home)} if home else {})
    done = subprocess.run(
        [*PLAIT, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def imported(code: str) -> set[str]:
    """Top-level packages in memory after `code`."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_help_imports_no_verb():
    found = imported("import plait.ui.cli.main")

    assert found.isdisjoint(HEAVY | {"msgspec"})


def test_the_verbs_in_a_hurry_import_nothing_heavy():
    found = imported("import plait.settings, plait.ui.cli.get, plait.ui.cli.status")

    assert found.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "verb",
    [
        *VERBS,
        "proxy gateway",
        "proxy sidecar",
        "proxy config",
        "why resource",
        "store recover",
        "ca roots",
        "token api",
        "token revoke",
    ],
)
def test_every_verb_has_help_with_an_example(verb: str):
    code, out, _ = run(*verb.split(), "--help")

    assert code == 0
    assert "Example" in out


def words(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    """Every command below a group, as it is written."""
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        if isinstance(found, click.Group):
            yield from words(found, *before, name)
        else:
            yield (*before, name)


@pytest.mark.parametrize("path", [p for p in words(main) if len(p) > 1], ids=" ".join)
def test_every_command_of_a_verb_has_help_with_an_example(path: tuple[str, ...]):
    code, out, _ = run(*path, "--help")

    assert code == 0
    assert f"plait {' '.join(path)}" in out.partition("Example")[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Usage: plait"),
        ("nonsense", "No such command 'nonsense'"),
        ("apply", "Missing option '-f'"),
        ("apply -f x --wait=soon", "'soon' is not a valid integer"),
        ("apply -f x --dry-run=maybe", "'maybe' is not one of 'none', 'server'"),
        ("get", "Missing argument"),
        ("get vs -o xml", 'there is no output "xml"; there are: table, wide, yaml, json'),
        ("status -o wide", "'wide' is not one of 'table', 'json', 'yaml'"),
        ("proxy", "Usage: plait proxy"),
        ("proxy config secrets", "'secrets' is not one of 'listeners'"),
        ("why resource secret x", "'secret' is not one of 'cluster'"),
        ("completion tcsh", "'tcsh' is not one of 'bash'"),
    ],
)
def test_a_command_line_that_means_nothing_exits_with_2(line: str, said: str):
    code, out, err = run(*line.split())

    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("server", ["https://a/b", "http://a b", "ftp://x", "http://x:y"])
def test_a_wrong_address_is_said_with_the_right_forms(server: str):
    code, _, err = run("--server", server, "get", "vs")

    assert code == 1
    assert err == (
        f'error: "{server.removeprefix("http://").removeprefix("https://")}" is no address of an '
        "API: write http(s)://HOST:PORT or unix:PATH\n"
    )


def test_a_wrong_command_line_exits_with_2_and_shows_the_usage():
    code, _, err = run("get", "--colour", "vs")

    assert code == 2
    assert err.startswith("Usage: ")
    assert err.splitlines()[-1].startswith("error: No such option")


def test_an_absent_control_plane_is_named_with_the_way_out():
    address = f"127.0.0.1:{free_port()}"

    code, out, err = run("get", "vs", PLAIT_SERVER=address)

    assert (code, out) == (1, "")
    assert err == (
        f"error: no control plane answers at http://{address} (Connection refused). "
        "Start one with: plait up DIRECTORY (again, if it was killed) or plait serve, "
        "or name another with --server\n"
    )


def test_the_flag_counts_more_than_the_variable(tmp_path: Path):
    _, _, err = run("--server", f"unix:{tmp_path}/x", "get", "vs", PLAIT_SERVER="127.0.0.1:1")

    assert f"unix:{tmp_path}/x (No such file or directory)" in err


def test_what_is_no_control_plane_is_no_traceback():
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>hello")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        code, _, err = run("get", "vs", PLAIT_SERVER=address)
        server.shutdown()
        thread.join()

    assert (code, err) == (1, f"error: what answers at {address} is no control plane\n")


def test_a_missing_file_is_named(tmp_path: Path):
    code, _, err = run("apply", "-f", str(tmp_path / "none.yaml"))

    assert (code, err) == (1, f"error: there is no file or directory {tmp_path}/none.yaml\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str):
    code, out, _ = run("completion", shell)

    assert code == 0
    assert "_PLAIT_COMPLETE" in out


def test_a_client_alone_knows_its_version():
    assert run("version", "--client")[1].startswith("client ")


def test_a_wrong_setting_of_serve_is_one_line_that_names_the_wrong_value_alone(tmp_path: Path):
    addresses = ("--api", "nonsense", "--api", f"unix:{tmp_path}/api.sock")
    code, _, err = run("serve", *addresses, "--data", str(tmp_path), home=tmp_path)

    assert code == 1
    assert err == 'error: --api: api must be host:port or unix:PATH, not "nonsense"\n'


def test_a_token_is_not_shown_where_others_could_read_it(tmp_path: Path):
    given = ("--server", "http://plane.example:15080", "get", "services")
    code, _, err = run(*given, home=tmp_path, PLAIT_TOKEN="canary-token")

    assert code == 1
    assert "a token is not shown to http://plane.example:15080" in err
    assert "canary-token" not in err
