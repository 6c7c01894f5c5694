"""How a command ends: with one of these codes, and where something went wrong with one sentence, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import click

from remediator.domain.errors import RemediatorError


class Exit(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    """Of the command, or of the settings."""
    FINDINGS = 3
    """Errors in rules, or in how a sender is configured."""
    REFUSED = 4
    """By a guard, a role or a state."""


class BadSettings(click.ClickException):
    """What the environment or a file says, so the usage of the command is not shown."""

    exit_code = Exit.USAGE


class Refused(click.ClickException):
    exit_code = Exit.REFUSED


@contextmanager
def errors_told(
    which: type[RemediatorError] = RemediatorError, *, by: type[click.ClickException] = click.ClickException
) -> Iterator[None]:
    """Ends the command with the error's own sentence, and the code of `by`."""
    try:
        yield
    except which as error:
        raise by(str(error)) from error
