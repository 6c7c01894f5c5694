"""Prometheus' HTTP API: instant queries, read strictly."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from remediator.clients.http import HttpClient, json_of
from remediator.domain.errors import Permanent, Temporary
from remediator.domain.number import finite

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    name: str
    url: str
    http: HttpClient
    token: str = ""

    async def query(self, promql: str) -> tuple[Sample, ...]:
        """An instant vector or a scalar as samples; NaN is left out: it is the absence of an answer.

        Infinities are made `finite`, for facts could not be kept otherwise.
        Raises `Temporary` where it cannot be reached, `Permanent` where it refuses the query.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        address = f"{self.url.rstrip('/')}/api/v1/query?{urlencode({'query': promql, 'timeout': '8s'})}"
        answer = await self.http.get(address, headers=headers, timeout=_TIMEOUT)
        if answer.status >= 500:
            raise Temporary(f"answered {answer.status}", system=f"prometheus {self.name}", operation="query")
        document = json_of(answer, system=f"prometheus {self.name}", operation="query")
        if answer.status >= 400 or document.get("status") != "success":
            why = str(document.get("error", answer.status))
            raise Permanent(why, system=f"prometheus {self.name}", operation="query", status=answer.status)
        return _samples(document["data"])


def _samples(data: Mapping[str, Any]) -> tuple[Sample, ...]:
    match data:
        case {"resultType": "vector", "result": result}:
            found = [Sample(item["metric"], finite(float(item["value"][1]))) for item in result]
        case {"resultType": "scalar", "result": [_, value]}:
            found = [Sample({}, finite(float(value)))]
        case _:
            raise Permanent(
                f"the query gives a {data.get('resultType')}, not one value a series",
                system="prometheus",
                operation="query",
            )
    return tuple(sample for sample in found if not math.isnan(sample.value))
