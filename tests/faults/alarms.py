"""What is wrong in the cluster of one seed, and the alerts that tell of it: they fire, end, and end by being fixed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fakes.alertmanager_peers import Truth
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.kubelet import is_ready
from tests.faults.scenario import Alarm, Scenario, Trouble

NAMESPACE = "prod"
_REPLICAS = 2
_TWIN_BEHIND = 0.3
_TRIES = 3
"""Of one look at the cluster."""
_WRITES = {"POST": "/eviction", "DELETE": "/pods/", "PATCH": "/deployments/"}


@dataclass(frozen=True, slots=True)
class Alarms:
    """Each is told apart by its workload's name, which ends in its number."""

    scenario: Scenario
    cluster: FakeCluster
    truth: Truth

    def deploy(self) -> None:
        for method, path in _WRITES.items():
            self.cluster.fail_next(500, method=method, path=path, times=self.scenario.api_errors, writes_only=True)
            self.cluster.hang_up_next(method=method, path=path, times=self.scenario.api_hang_ups)
            self.cluster.hang_up_next(method=method, path=path, times=self.scenario.api_hides, hides=_TRIES)
        for number, _ in enumerate(self.scenario.alarms):
            self.cluster.deploy(NAMESPACE, workload := self._workload(number), replicas=_REPLICAS)
            if self.scenario.guards_pods:
                self.cluster.add_budget(NAMESPACE, workload, app=workload, min_available=_REPLICAS)

    async def live_through(self, number: int, alarm: Alarm) -> None:
        await asyncio.sleep(alarm.fires_at)
        await self._fire(number, alarm)
        if alarm.ends_at is not None:
            await asyncio.sleep(alarm.ends_at - alarm.fires_at)
            self._resolve(number)
        if alarm.ends_at is not None and alarm.fires_again_at is not None:
            await asyncio.sleep(alarm.fires_again_at - alarm.ends_at)
            await self._fire(number, alarm)

    async def notice_what_healed(self) -> None:
        """An alert ends when what it measures is well again. Until cancelled."""
        while True:
            await asyncio.sleep(0.2)
            for number, alarm in enumerate(self.scenario.alarms):
                if self._has_healed(number, alarm):
                    self._resolve(number)

    def end_all(self) -> None:
        for number, _ in enumerate(self.scenario.alarms):
            self.cluster.heal(NAMESPACE, self._workload(number))
            self._resolve(number)

    def replicas(self) -> dict[str, int]:
        """That each workload asks for now."""
        workloads = [self._workload(number) for number, _ in enumerate(self.scenario.alarms)]
        return {name: self.cluster.deployment(NAMESPACE, name)["spec"]["replicas"] for name in workloads}

    async def _fire(self, number: int, alarm: Alarm) -> None:
        self._break(number, alarm)
        first, *twins = self._labels(number)
        self.truth.fire(first)
        for twin in twins:
            await asyncio.sleep(_TWIN_BEHIND)
            self.truth.fire(twin)

    def _break(self, number: int, alarm: Alarm) -> None:
        workload = self._workload(number)
        match alarm.trouble:
            case Trouble.REPLACE | Trouble.RESTART | Trouble.APPROVED:
                self.cluster.break_until_restarted(NAMESPACE, workload, pods=1)
            case Trouble.HOPELESS:
                self.cluster.break_pods(NAMESPACE, workload)
            case Trouble.SCALE | Trouble.LOOK:
                pass

    def _has_healed(self, number: int, alarm: Alarm) -> bool:
        pods = self.cluster.pods(NAMESPACE, self._workload(number))
        match alarm.trouble:
            case Trouble.REPLACE | Trouble.RESTART | Trouble.APPROVED:
                return all(map(is_ready, pods))
            case Trouble.SCALE:
                return len(pods) > _REPLICAS
            case Trouble.HOPELESS | Trouble.LOOK:
                return False

    def _resolve(self, number: int) -> None:
        for labels in self._labels(number):
            self.truth.resolve(labels)

    def _labels(self, number: int) -> list[dict[str, str]]:
        """Of each of its alerts."""
        alarm = self.scenario.alarms[number]
        first = {"alertname": alarm.trouble.value, "namespace": NAMESPACE, "deployment": self._workload(number)}
        return [first, first | {"instance": "twin"}] if alarm.has_twin else [first]

    def _workload(self, number: int) -> str:
        return f"{self.scenario.alarms[number].trouble.lower()}-{number}"


def number_of(labels: Mapping[str, str]) -> int:
    """Of the alarm that an alert with these labels tells of."""
    return int(labels["deployment"].rpartition("-")[2])
