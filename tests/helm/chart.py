"""Renders the chart with the real Helm engine (its Go SDK, from a wheel)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[2] / "helm"
RELEASE = "remediator"


@dataclass(frozen=True, slots=True)
class Rendered:
    objects: Sequence[dict[str, Any]]
    notes: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.objects if each["kind"] == kind]

    def only(self, kind: str, *, ending: str = "") -> dict[str, Any]:
        (found,) = (each for each in self.of(kind) if each["metadata"]["name"].endswith(ending))
        return found

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.only("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def settings(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.only("ConfigMap", ending="-settings")["data"]["settings.yaml"])
        return content


def render(values: Mapping[str, Any] | None = None, *, namespace: str = "ops", release: str = RELEASE) -> Rendered:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(dict(values or {}), name=release, namespace=namespace)
    manifests = (text for path, text in sorted(files.items()) if path.endswith(".yaml"))
    documents = (document for text in manifests for document in yaml.safe_load_all(text))
    notes = next(text for path, text in files.items() if path.endswith("NOTES.txt"))
    return Rendered([document for document in documents if document], notes)
