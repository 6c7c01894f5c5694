"""`remediator serve`: the daemon."""

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import click

from remediator.cli.configuration import config_option, read_settings
from remediator.cli.exits import BadSettings, errors_told
from remediator.domain.errors import BadDocument

_LOOK_UP_THREADS = "64"
_OPEN_FILES = 65_536


@click.command()
@config_option
@click.option("--mode", type=click.Choice(["observe", "suggest", "act"]), help="The ceiling for every rule.")
@click.option("--rules", "rules_dir", type=click.Path(path_type=Path), help="The folder with the rules.")
@click.option("--port", type=click.IntRange(0, 65_535))
@click.option("--insecure-no-auth", is_flag=True, help="Accept alerts from anybody. For a laptop.")
def command(config: Path | None, insecure_no_auth: bool, **given: Any) -> None:
    """Accept alerts, look, fix under guards, prove it, or page a person. Observes only, until told otherwise."""
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = read_settings(config, overrides)
    if insecure_no_auth:
        webhooks = settings.webhooks.model_copy(update={"allow_unauthenticated": True})
        settings = settings.model_copy(update={"webhooks": webhooks})
    with errors_told(), errors_told(BadDocument, by=BadSettings):
        _run(settings)


def _run(settings: Any) -> None:
    # uvloop looks names up in libuv's threads: 4 unless told before their first use, of which look-ups get half. Two
    # names whose server is silent would hold up every page and every reconnect to the database.
    os.environ.setdefault("UV_THREADPOOL_SIZE", _LOOK_UP_THREADS)
    _allow_open_files()
    gc.disable()  # until the daemon is up: what a start makes is there to stay

    import uvloop

    from remediator.app import serve_until_stopped

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped(settings))


def _allow_open_files() -> None:
    """As many as we may have, for most systems begin with 1,024: an Alertmanager that opens 2,000 connections would
    leave none to page by, or to reach the database, until it lets go of them."""
    import resource  # not on every system, and the other commands are

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
