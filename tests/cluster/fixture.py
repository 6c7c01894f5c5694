"""pytest's door to the real control plane: `control_plane` (one a session), `kubelet` and `namespace` (one a test).

Binaries are looked for in KUBEBUILDER_ASSETS and then in the cache that build.sh fills; nothing is built here.
"""

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import Binaries, ControlPlane
from tests.cluster.kubelet import FakeKubelet
from tests.fakes.programs import refuse

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    cluster = ControlPlane(_find_binaries(), tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
async def kubelet(control_plane: ControlPlane) -> AsyncIterator[FakeKubelet]:
    async with FakeKubelet(control_plane) as running:
        yield running


@pytest.fixture
async def namespace(control_plane: ControlPlane, kubelet: FakeKubelet) -> AsyncIterator[str]:
    """Asked to go before the kubelet does, so that nothing of it comes back on the next test's node."""
    name = await control_plane.namespace()
    yield name
    async with control_plane.api() as api:
        await api.delete(f"/api/v1/namespaces/{name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test with a cluster also pays for its start."""
    for item in items:
        if item.get_closest_marker("cluster") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(180))


def _find_binaries() -> Binaries:
    folders = [Path(assets)] if (assets := os.environ.get("KUBEBUILDER_ASSETS")) else []
    folders.append(_build_cache())
    names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    found = {name: _find(name, folders) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        refuse(f"no {', '.join(missing)} in KUBEBUILDER_ASSETS or {folders[-1]}: run tests/cluster/build.sh")
    etcd, *kubernetes = (path for path in found.values() if path is not None)
    return Binaries(etcd, *kubernetes)


def _find(name: str, folders: list[Path]) -> Path | None:
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return folder / name
    on_path = shutil.which(name) if name == "etcd" else None
    return Path(on_path) if on_path else None


def _build_cache() -> Path:
    """The folder that build.sh prints."""
    content = (_HERE / "go.mod").read_bytes() + (_HERE / "go.sum").read_bytes()
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "remediator" / "cluster" / hashlib.sha256(content).hexdigest()[:16]
