"""`remediator serve` before the daemon is there."""

import gc
import os
from typing import Any

import pytest

from remediator.cli import serve


def test_there_are_threads_for_many_slow_names_before_the_first_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    async def serve_until_stopped(_: Any) -> None:
        threads.append(os.environ.get("UV_THREADPOOL_SIZE"))

    monkeypatch.setattr("remediator.app.serve_until_stopped", serve_until_stopped)
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setenv("UV_THREADPOOL_SIZE", "")
    monkeypatch.delenv("UV_THREADPOOL_SIZE")

    serve._run(None)

    assert threads == ["64"]
