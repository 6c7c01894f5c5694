"""A budget: at most so many within so long. Held by reservation rows, so it survives replicas, crashes and retries."""

from dataclasses import dataclass
from datetime import timedelta

LONGEST_WINDOW = timedelta(days=31)
"""What was spent before is not counted: no budget looks further back."""


@dataclass(frozen=True, slots=True)
class Budget:
    key: str
    """What is counted: `attempts/service-down/deployment/prod/backend`. Not for how long: whoever edits the window, or
    has another one, counts what was spent before, and by others."""
    at_most: int
    within: timedelta
    units: int = 1
    """How many this reservation takes."""
    beside: tuple[str, ...] = ()
    """Further keys whose spending counts towards the limit. Nothing is booked under them."""

    @property
    def keys(self) -> tuple[str, ...]:
        """All whose spending counts."""
        return self.key, *self.beside
