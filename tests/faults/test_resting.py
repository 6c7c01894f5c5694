"""When a seed of the fault run counts as at rest."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from tests.faults import resting
from tests.faults.beginnings import Beginnings
from tests.faults.resting import rest


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each look finds under way; None where the database cannot be read."""
    finds: list[Any] = []

    async def read(_: object) -> Any:
        return None if finds[0] is None else Mock()

    async def unrest(*_: object) -> list[str]:
        found: list[str] = finds[0]
        return found

    def seen(_: object) -> dict[str, Any]:
        finds.pop(0)
        return {}

    finds.append("before the first")
    monkeypatch.setattr(resting, "_LOOKS_APART", 0)
    monkeypatch.setattr(resting, "_seen", seen)
    monkeypatch.setattr(resting, "read", read)
    monkeypatch.setattr(resting, "_evidence", Mock())
    monkeypatch.setattr(resting, "_unrest", unrest)
    return finds


@pytest.mark.parametrize("between", [None, ["a message is queued"]], ids=["one that saw nothing", "one that was not"])
async def test_two_calm_looks_in_a_row_are_rest(looks: list[Any], between: Any) -> None:
    looks += [[], between, [], [], "one too many"]

    await rest(Mock())

    assert looks == [[], "one too many"]


async def test_what_does_not_come_to_rest_is_told(looks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "REST_WITHIN", 0.05)
    looks += [["a message is queued"]] * 10_000

    with pytest.raises(TimeoutError, match="a message is queued"):
        await rest(Mock())


def test_an_incident_is_held_against_the_version_that_it_was_seen_with_first() -> None:
    beginnings = Beginnings("")
    books: Any = SimpleNamespace(incidents=[{"id": 1, "rule_version": "v1"}])
    beginnings.of(books)
    books.incidents = [{"id": 1, "rule_version": "v2"}, {"id": 2, "rule_version": "v2"}]

    assert beginnings.of(books) == {1: "v1", 2: "v2"}
