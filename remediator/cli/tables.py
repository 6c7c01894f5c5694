"""Borderless upper-case tables, as kubectl prints them, cut to the terminal where there is one."""

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

_STATUS_COLOURS = {"triggered": "red", "acknowledged": "yellow", "resolved": "green"}


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    click.secho(_line([name.upper() for name in header], widths), bold=True)
    for row in cells:
        click.echo(coloured(_line(row, widths)))


def one_line(text: str) -> str:
    """Labels are hostile: no line breaks, no escape sequences reach the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def coloured(line: str) -> str:
    for status, colour in _STATUS_COLOURS.items():
        line = line.replace(f"{status} ", f"{click.style(status, fg=colour)} ", 1)
    return line


def age(moment: str) -> str:
    """`moment` is ISO 8601; "3m", "2h", "5d" as kubectl says it."""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())  # the reader's own clock
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"


def size(number: int) -> str:
    """Of bytes, as people say it."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    text = "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    if not sys.stdout.isatty():
        return text
    return text[: shutil.get_terminal_size().columns]
