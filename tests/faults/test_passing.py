"""Time that passes in the fault run: a page whose lease was taken may go out twice, and no other."""

from typing import Any
from unittest.mock import Mock

import asyncpg
import pytest

from tests.faults import passing
from tests.faults.passing import Passing


class Connection:
    """With one page on its way, whose lease is asked for."""

    def __init__(self, answer: str | Exception) -> None:
        self._answer = answer

    async def fetch(self, _: str) -> list[dict[str, object]]:
        return [{"id": 1, "epoch": 1, "dedup_key": "1:1:0:alice"}]

    async def execute(self, *_: object) -> str:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        pytest.param("UPDATE 1", 1, id="it was taken"),
        pytest.param("UPDATE 0", 0, id="its sender had recorded it before"),
        pytest.param(asyncpg.ConnectionDoesNotExistError("gone"), 1, id="our connection was lost: nobody can tell"),
        pytest.param(TimeoutError(), 1, id="no answer: nobody can tell"),
    ],
)
async def test_a_lease_counts_as_taken_where_it_was_or_nobody_can_tell(
    monkeypatch: pytest.MonkeyPatch, answer: Any, taken: int
) -> None:
    monkeypatch.setattr(passing, "_NEEDED_FOR_A_PAGE", -1)
    time = Passing("", Mock(), leases_last=True)
    connection: Any = Connection(answer)

    await time.expire(connection)

    assert time.taken["1:1:0:alice"] == taken


async def test_a_lease_that_somebody_holds_by_lock_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_NEEDED_FOR_A_PAGE", -1)
    time = Passing("", Mock(), leases_last=True)
    connection: Any = Connection(asyncpg.LockNotAvailableError("lock timeout"))

    with pytest.raises(asyncpg.LockNotAvailableError):
        await time.expire(connection)

    assert not time.taken
