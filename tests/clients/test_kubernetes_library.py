"""How much of kubernetes-asyncio a daemon carries."""

import subprocess
import sys

import pytest

AS_A_DAEMON = """
import sys
from remediator.clients.kubernetes import library

client, config = library.load()
assert library.load() == (client, config)
assert client.ApiClient and client.Configuration()
print(config.load_kube_config.__name__, *(name for name in sys.modules if name.startswith("kubernetes_asyncio")))
"""


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    """In a process of its own: other tests use the whole library."""
    ran = subprocess.run([sys.executable, "-c", AS_A_DAEMON], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_nothing_that_is_generated_is_loaded(loaded: list[str]) -> None:
    assert "load_kube_config" in loaded
    assert not [name for name in loaded if ".models." in name or ".api." in name]
