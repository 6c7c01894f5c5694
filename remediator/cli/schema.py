"""`remediator schema`: JSON Schema of the rule files, for editors. The committed copy is compared with it in CI."""

import json
from pathlib import Path

import click


@click.command()
@click.option("--to", type=click.Path(path_type=Path), help="Write it to this file instead of the terminal.")
@click.option("--check", "compared", type=click.Path(path_type=Path), help="Fail where this file is not current.")
def command(to: Path | None, compared: Path | None) -> None:
    """Print the JSON Schema that editors complete and check rule files by."""
    text = schema_text()
    if compared is not None:
        _compare(compared, text)
    elif to is not None:
        _write(to, text)
    else:
        click.echo(text, nl=False)


def schema_text() -> str:
    from remediator.rules.editor_schema import editor_schema

    return json.dumps(editor_schema(), indent=1, ensure_ascii=False) + "\n"


def _compare(path: Path, text: str) -> None:
    try:
        is_current = path.read_bytes() == text.encode()
    except FileNotFoundError:
        is_current = False
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error
    if not is_current:
        raise click.ClickException(f"{path} is not current: run `remediator schema --to {path}`")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(
            f"{path} cannot be written: {error.strerror}; --to takes a file in a folder that is there"
        ) from error
