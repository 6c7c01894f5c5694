"""The command line: tables for people, JSON for programs.

Each command ends with one of the codes in `exits.py`. Heavy modules are imported by the command that needs them.
"""

import importlib

import click

import remediator

_COMMANDS = {
    "serve": "remediator.cli.serve",
    "check": "remediator.cli.check",
    "explain": "remediator.cli.explain",
    "incidents": "remediator.cli.incidents",
    "sources": "remediator.cli.sources",
    "deliveries": "remediator.cli.deliveries",
    "kill-switch": "remediator.cli.kill_switch",
    "migrate": "remediator.cli.migrate",
    "rbac": "remediator.cli.rbac",
    "retention": "remediator.cli.retention",
    "schema": "remediator.cli.schema",
}
"""Each module holds its click command as `command`."""


class _LazyGroup(click.Group):
    """Imports a command's module when it is used: `remediator --help` must not load Kubernetes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name]).command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(remediator.__version__, prog_name="remediator")
def main() -> None:
    """Turns an operations runbook into safe, proven action."""
