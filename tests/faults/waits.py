"""What a seed that hangs waits for: our own tasks, down to the innermost call, and the sessions of its database."""

import asyncio
from typing import Any

import asyncpg


def tasks() -> list[str]:
    """Of all seeds that are under way; the one that hangs alone tells more: `--seeds 1`."""
    return sorted(f"{task.get_name()} waits in {' > '.join(_calls(task.get_coro()))}" for task in asyncio.all_tasks())


def _calls(waiting: Any) -> list[str]:
    """A suspended task's own stack has its outermost frame only."""
    calls = []
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        calls.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}" if frame else type(waiting).__name__)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return calls


async def sessions(connection: "asyncpg.Connection[Any]") -> list[str]:
    rows = await connection.fetch(_SESSIONS)
    return [" ".join(f"{name}={value}" for name, value in row.items()) for row in rows]


_SESSIONS = """
SELECT pid, state, wait_event, pg_blocking_pids(pid) AS blocked_by, now() - state_change AS since, query
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
ORDER BY state_change
"""
