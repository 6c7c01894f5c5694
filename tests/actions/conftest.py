"""`bench`: each test of an action on the fake at every run, and on the real API server where its binaries are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.actions.bench import Bench, FakeWorld, RealWorld, bench_on
from tests.cluster.control_plane import ControlPlane
from tests.cluster.eventually import eventually
from tests.cluster.test_control_plane import deployment, is_ready
from tests.fakes.kubernetes import FakeCluster


@pytest.fixture
async def fake_bench(fake_cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[Bench]:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")
    kubeconfig = fake_cluster.write_kubeconfig(tmp_path / "kubeconfig")
    async with bench_on(kubeconfig, "prod", FakeWorld(fake_cluster, "prod")) as bench:
        yield bench


@pytest.fixture
async def real_bench(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Bench]:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    async with control_plane.api() as api:
        await api.create(path, deployment("backend", replicas=3))
        await eventually(lambda: is_ready(api, namespace, "backend", replicas=3))
        newer = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
        await api.merge(f"{path}/backend", newer)

        async def is_rolled_out() -> bool:
            status = (await api.get(f"{path}/backend"))["status"]
            counts = {status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")}
            return status["observedGeneration"] == 2 and counts == {3}

        await eventually(is_rolled_out)
        async with bench_on(control_plane.kubeconfig(), namespace, RealWorld(control_plane, api, namespace)) as bench:
            yield bench


@pytest.fixture(params=["fake_bench", pytest.param("real_bench", marks=pytest.mark.cluster)])
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(request.param)
    return found
