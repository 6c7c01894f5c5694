"""What `remediator serve` sees to before its loop is made."""

import asyncio
import gc
import os
from collections.abc import Iterator

import pytest
import uvloop
from click.testing import CliRunner

from remediator.cli import main


@pytest.fixture
def threads_at_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """What libuv would read as the size of its pool; the daemon gets no further."""
    seen: list[str | None] = []

    def new_event_loop() -> asyncio.AbstractEventLoop:
        seen.append(os.environ.get("UV_THREADPOOL_SIZE"))
        raise KeyboardInterrupt

    monkeypatch.setattr(uvloop, "new_event_loop", new_event_loop)
    monkeypatch.setenv("UV_THREADPOOL_SIZE", "unset")  # so that it is put back
    monkeypatch.delenv("UV_THREADPOOL_SIZE")
    yield seen
    gc.enable()


def test_dead_names_leave_threads_to_look_others_up(threads_at_start: list[str | None]) -> None:
    CliRunner().invoke(main, ["serve"])

    assert threads_at_start == ["64"]


def test_how_many_is_left_to_who_set_it(threads_at_start: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_THREADPOOL_SIZE", "8")

    CliRunner().invoke(main, ["serve"])

    assert threads_at_start == ["8"]
