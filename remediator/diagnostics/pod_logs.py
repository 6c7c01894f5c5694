"""The last lines that the target's pods wrote."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from remediator.clients.kubernetes import KubernetesReader
from remediator.clients.kubernetes.objects import Pod
from remediator.clients.kubernetes.reader import to_read_pods
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload, RemediatorError
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import NAMESPACED, Target
from remediator.toolbox import Toolbox

_LIMIT_BYTES = 64 * 1024
_ERROR_WORDS = ("error", "exception", "fatal", "panic", "traceback")


@dataclass(frozen=True, slots=True)
class Facts:
    pods: int
    """Whose logs could be read."""
    lines: int
    error_lines: int
    """Lines with one of: error, exception, fatal, panic, traceback."""
    last_error: str
    out_of_memory: bool
    """Whether the words of an exhausted heap were seen."""


class PodLogs(Diagnostic):
    """The last lines of the target's pods, the unready ones first, counted for errors. The text itself is not kept."""

    Facts: ClassVar[type] = Facts
    target_kinds: ClassVar[tuple[str, ...]] = NAMESPACED

    tail: int = Field(default=100, ge=1, le=5_000)
    """Lines of each pod."""
    previous: bool = False
    """Of the container before its last restart, where there was one."""
    pods: int = Field(default=5, ge=1, le=20)
    """The most pods to read."""

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return (Permission("get", "pods/log"), *to_read_pods(target))

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        if incident.target is None:
            raise BadPayload("this incident has no target to look at")
        found = sorted(await tools.kubernetes.pods(incident.target), key=_interest)
        texts: list[str] = []
        refusals: list[RemediatorError] = []
        for pod in found[: self.pods]:
            try:
                texts.append(await self._read(pod, tools.kubernetes))
            except RemediatorError as error:  # one pod's missing log must not hide the others'
                refusals.append(error)
        if refusals and not texts:
            raise refusals[0]
        facts = judge(texts)
        return Look(_in_words(facts), facts)

    async def _read(self, pod: Pod, kubernetes: KubernetesReader) -> str:
        restarted = [s.name for s in pod.status.container_statuses if s.restart_count > 0]
        container = restarted[0] if restarted else (pod.spec.containers[0].name if pod.spec.containers else "")
        return await kubernetes.logs(
            pod.metadata.namespace,
            pod.metadata.name,
            container=container,
            tail=self.tail,
            previous=self.previous and bool(restarted),
            limit_bytes=_LIMIT_BYTES,
        )


def _interest(pod: Pod) -> tuple[bool, bool, str]:
    """First those that are in trouble, last the records of those whose logs went with them."""
    return pod.is_over, pod.is_ready, pod.metadata.name


def judge(texts: list[str]) -> Facts:
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if any(word in line.lower() for word in _ERROR_WORDS)]
    return Facts(
        pods=len(texts),
        lines=len(lines),
        error_lines=len(errors),
        last_error=errors[-1][:300] if errors else "",
        out_of_memory=any("out of memory" in line.lower() or "outofmemory" in line.lower() for line in lines),
    )


def _in_words(facts: Facts) -> str:
    last = f", last: {facts.last_error[:120]}" if facts.last_error else ""
    lines, pods = _count(facts.lines, "line"), _count(facts.pods, "pod")
    return f"{facts.error_lines} of {lines} of {pods} with an error{last}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
