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
    """NaN where there is a series and no value for it: 0 divided by 0, a summary that saw nothing."""

    @property
    def is_known(self) -> bool:
        return not math.isnan(self.value)

    def __str__(self) -> str:
        return "{" + ", ".join(f'{name}="{value}"' for name, value in self.labels.items()) + "}"


@dataclass(frozen=True, slots=True)
class Answer:
    samples: tuple[Sample, ...]
    warnings: tuple[str, ...]
    """With any, it may not be whole: where a store behind it does not answer, the rest is called a success."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    name: str
    url: str
    http: HttpClient
    token: str = ""

    async def query(self, promql: str) -> Answer:
        """An instant vector or a scalar. Infinities are made `finite`, for facts could not be kept otherwise.

        Raises `Temporary` where it cannot be reached, `Permanent` where it refuses the query.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        address = f"{self.url.rstrip('/')}/api/v1/query?{urlencode({'query': promql, 'timeout': '8s'})}"
        answer = await self.http.get(address, headers=headers, timeout=_TIMEOUT)
        system = f"prometheus {self.name}"
        if answer.status >= 500:
            raise Temporary(f"answered {answer.status}", system=system, operation="query")
        document = json_of(answer, system=system, operation="query")
        try:
            if answer.status >= 400 or document.get("status") != "success":
                why = str(document.get("error", answer.status))
                raise Permanent(why, system=system, operation="query", status=answer.status)
            return Answer(_samples(document["data"]), tuple(map(str, document.get("warnings") or ())))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"not an answer that can be read: {answer.text[:200]}"
            raise Permanent(why, system=system, operation="query") from error


def _samples(data: Mapping[str, Any]) -> tuple[Sample, ...]:
    match data:
        case {"resultType": "vector", "result": result}:
            return tuple(Sample(item["metric"], finite(float(item["value"][1]))) for item in result)
        case {"resultType": "scalar", "result": [_, value]}:
            return (Sample({}, finite(float(value))),)
        case _:
            raise Permanent(
                f"the query gives a {data.get('resultType')}, not one value a series",
                system="prometheus",
                operation="query",
            )
