"""The fake cluster as a pytest fixture, apart from the rest so that the demo needs no pytest."""

from collections.abc import AsyncIterator

import pytest

from . import FakeCluster


@pytest.fixture
async def fake_cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster.serve() as cluster:
        yield cluster
