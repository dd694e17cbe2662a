"""The command line: verbs are imported when they are used."""

from __future__ import annotations

from importlib import import_module

import click

_VERBS = {"serve": "Run the control plane.", "proxy": "Run one Envoy, or show what one is sent."}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        found: click.Command = import_module(f"plait.ui.cli.{cmd_name}").command
        return found


@click.command(cls=_Lazy)
def main() -> None:
    """A service mesh: Istio's YAML, stock Envoy, every decision explained."""


if __name__ == "__main__":
    main()
