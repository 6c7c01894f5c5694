"""Fixtures that more than one folder of tests uses."""

import asyncio

import pytest

# Else the pytest plug-ins for asyncio are handed a loop that nobody closes, which is a warning at some later test.
asyncio.set_event_loop(None)

pytest_plugins = [
    "tests.cluster.fixture",
    "tests.fakes.kubernetes.fixture",
    "tests.fakes.postgres",
    "tests.fakes.valkey",
    "tests.store.history",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the tests are spread over processes (`make test`), what takes long to start is started in one of them."""
    for item in items:
        if item.get_closest_marker("cluster") is not None:
            item.add_marker(pytest.mark.xdist_group("cluster"))
        elif "history_dsn" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("history"))
