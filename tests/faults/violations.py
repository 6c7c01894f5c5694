"""What a look from outside can find fault with."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    LOST = "lost"
    DOUBLED = "doubled"
    OTHER = "other violations"


@dataclass(frozen=True, slots=True)
class Violation:
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"
