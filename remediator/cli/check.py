"""`remediator check`: everything that can be known about rules before the night."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from remediator.cli.exits import Exit, errors_told
from remediator.cli.tables import one_line
from remediator.domain.errors import BadDocument
from remediator.language.document import Problem, Severity

if TYPE_CHECKING:
    from remediator.rules.loader import Loaded


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("rules"))
@click.option("-o", "--output", type=click.Choice(["text", "json", "github"]), default="text")
def command(folder: Path, output: str) -> None:
    """Say what is wrong with the rules in FOLDER: grammar, names, types, overlaps, hours in which nobody is reached.

    Exits with 3 where there are errors; warnings alone are no failure.
    """
    loaded = load_or_stop(folder)
    problems = [*loaded.problems, *_unreached(loaded, folder)]
    match output:
        case "json":
            click.echo(json.dumps([asdict(problem) for problem in problems], indent=2))
        case "github":
            for problem in problems:
                click.echo(_annotation(problem))
        case _:
            _print(problems, loaded)
    if any(problem.severity is Severity.ERROR for problem in problems):
        sys.exit(Exit.FINDINGS)


def load_or_stop(folder: Path) -> "Loaded":
    from remediator.rules.loader import load_rules

    with errors_told(BadDocument, by=click.UsageError):
        return load_rules(folder)


def _unreached(loaded: "Loaded", folder: Path) -> list[Problem]:
    from remediator.rules.reach import gaps

    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)  # the reader's own clock
    return [Problem(str(folder), 1, 1, str(gap)) for gap in gaps(loaded.rulebook, this_hour)]


def _print(problems: Sequence[Problem], loaded: "Loaded") -> None:
    for problem in problems:
        click.secho(problem.render(_source(problem)), fg="red" if problem.severity is Severity.ERROR else "yellow")
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    rules = len(loaded.rulebook.rules)
    click.echo(f"{_count(rules, 'sound rule')}, {_count(errors, 'error')}, {_count(len(problems) - errors, 'warning')}")


def _source(problem: Problem) -> str:
    path = Path(problem.path)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _annotation(problem: Problem) -> str:
    """What a GitHub runner draws beside the line."""
    told = one_line(f"{problem.message}: {problem.hint}" if problem.hint else problem.message)
    escaped = told.replace("%", "%25")
    return f"::{problem.severity} file={problem.path},line={problem.line},col={problem.column}::{escaped}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
