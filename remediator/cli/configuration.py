"""Settings for the commands that run the daemon's own parts: the file is read strictly, and errors name their place."""

import os
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from remediator.cli.exits import BadSettings
from remediator.domain.errors import BadDocument
from remediator.language.strict_yaml import load
from remediator.language.suggestion import did_you_mean, nearest
from remediator.settings import PREFIX, Settings, load_settings, names_at, unknown_names

config_option = click.option(
    "--config", envvar="REMEDIATOR_CONFIG", type=click.Path(path_type=Path), help="A YAML file with settings."
)


def read_settings(path: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """`overrides` are flags, checked by click, and win over everything.

    Ends the command, every problem named, where a setting is wrong.
    """
    try:
        values = _from_file(path) if path is not None else {}
        settings = load_settings(values, os.environ)
    except ValidationError as error:
        raise BadSettings(_in_words(error)) from error
    except SettingsError as error:
        raise BadSettings(f"settings are wrong:\n  {error}: a list or a mapping is written as JSON") from error
    except (BadDocument, OSError, UnicodeDecodeError) as error:
        raise BadSettings(str(error)) from error
    for name in unknown_names(os.environ):
        told = f"Warning: {name} is no setting, and does nothing"
        click.echo(" ".join([told, *_near(name)]), err=True)
    return settings.model_copy(update=overrides or {})


def _near(variable: str) -> list[str]:
    """A sentence, or none."""
    written = variable.upper().removeprefix(PREFIX).partition("__")[0]
    found = nearest(written, [name.upper() for name in names_at(())])
    return [f"(did you mean {PREFIX}{found}?)"] if found is not None else []


def _from_file(path: Path) -> dict[str, Any]:
    documents = load(path.read_text(), str(path))
    if len(documents) > 1:
        raise BadDocument(
            f"{path}: settings are one YAML document, and here are {len(documents)} (a line `---` begins one)"
        )
    return dict(documents[0].data) if documents else {}


def _in_words(error: ValidationError) -> str:
    lines = [f"  {'.'.join(map(str, e['loc']))}: {_told(e)}" for e in error.errors(include_input=False)]
    return "settings are wrong:\n" + "\n".join(lines)


def _told(error: ErrorDetails) -> str:
    if error["type"] != "extra_forbidden":
        return error["msg"]
    *path, name = map(str, error["loc"])
    known = names_at(path)
    hint = did_you_mean(name, known) or f"known here: {', '.join(known)}"
    return f"there is no such setting; {hint}"
