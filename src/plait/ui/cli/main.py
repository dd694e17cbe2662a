"""The command line: verbs are imported when they are used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NoReturn

import click

VERBS = {
    "up": "Run the services in a directory on this machine, as a mesh.",
    "down": "End what was started with up.",
    "serve": "Run the control plane.",
    "apply": "Create or change the objects in files.",
    "delete": "Delete objects by kind and name, or by file.",
    "get": "Show objects, as tables or whole.",
    "describe": "Show an object with its conditions and findings.",
    "status": "Is everything in force everywhere, and if not, why.",
    "logs": "Print what a workload says.",
    "scale": "Set the number of a Deployment's Pods.",
    "restart": "Replace the Pods of a Deployment.",
    "exec": "Run a command inside a workload.",
    "proxy": "Run one Envoy, or show what one is sent.",
    "agent": "Run the Envoys of this machine, beside a control plane.",
    "ca": "The certificate authority: its roots, and their rotation.",
    "cert": "Who has which identity, and until when.",
    "mtls": "What ports ask of their callers, and who calls in plain text.",
    "token": "Give, list and revoke tokens.",
    "why": "Explain a decision.",
    "version": "Show versions.",
    "store": "Look after the database.",
    "completion": "Print the completion script of a shell.",
}
"""Each verb is the module of that name; the texts stand here so that help imports none."""


_INTERRUPTED = 130  # as shells say it: 128 and the number of SIGINT


class Verbs(click.Group):
    """A group whose commands are imported when they are called."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command line and exit; what is wrong is one line on the error stream.

        The exit code is 1 for errors, 2 for a wrong command line, 130 after an interrupt.
        """
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            if isinstance(error, click.UsageError) and error.ctx is not None:
                click.echo(f"{error.ctx.get_usage()}\n", err=True)
            click.echo(f"error: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(_INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        found: click.Command = import_module(f"plait.ui.cli.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their texts, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--server", metavar="ADDRESS", help="The API: http(s)://HOST:PORT or unix:PATH.")
@click.option("--token", help="Shown to the API; better in PLAIT_TOKEN, where no list shows it.")
@click.option("--certificate-authority", metavar="FILE", help="Certificates that the API is under.")
def main(**_: str | None) -> None:
    """A service mesh: Istio's YAML, stock Envoy, every decision explained.

    The commands talk to the control plane at --server, else PLAIT_SERVER, else the one that runs
    on this machine.
    """


if __name__ == "__main__":
    main(prog_name="plait")
