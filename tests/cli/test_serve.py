"""What `remediator serve` sees to before its loop is made."""

import asyncio
import gc
import os
import resource
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


@pytest.fixture
def few_open_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_open_files", "threads_at_start")
def test_a_sender_with_thousands_of_connections_leaves_some_to_page_by() -> None:
    CliRunner().invoke(main, ["serve"])

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard))


@pytest.mark.usefixtures("threads_at_start")
@pytest.mark.parametrize("hard", [1_000_000_000, resource.RLIM_INFINITY], ids=["in some containers", "no limit"])
def test_of_a_huge_limit_it_takes_what_it_may_need(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    """Whatever walks through all numbers of open files, as a program that we start may, would walk for minutes."""
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (512, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: taken.append(limits))

    CliRunner().invoke(main, ["serve"])

    assert taken == [(65_536, hard)]
