"""Fixtures that more than one folder of tests uses."""

import asyncio

# Else the pytest plug-ins for asyncio are handed a loop that nobody closes, which is a warning at some later test.
asyncio.set_event_loop(None)

pytest_plugins = [
    "tests.cluster.fixture",
    "tests.fakes.kubernetes.fixture",
    "tests.fakes.postgres",
    "tests.fakes.valkey",
    "tests.store.history",
]
