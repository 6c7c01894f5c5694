"""The escalation clock: whom to page next, and when. It runs beside the fix and never waits for it.

Late timers collapse: after an outage the step that is current *now* is paged once, not every step that was missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

SHORTEST_REPEAT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class EscalationStep:
    page: tuple[str, ...]
    """Schedules, people or channels."""
    wait: timedelta = timedelta(minutes=15)
    """How long an acknowledgement may take before the next step; none: it is paged together with the next one."""


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    name: str
    steps: tuple[EscalationStep, ...]
    repeat_every: timedelta = timedelta(minutes=15)
    """After the last step everybody is paged again at this pace, until somebody acknowledges."""


@dataclass(frozen=True, slots=True)
class Severity:
    name: str
    title: str
    definition: str
    respond_within: timedelta
    policy: str
    at_once: bool = True
    """Page when the alert is stored; else only when the fix did not work, or `respond_within` has passed."""
    urgent: bool = False
    """Use every contact of a person at once instead of one after the other."""
    acknowledged_for: timedelta = timedelta(minutes=30)
    """How long an acknowledgement holds an open incident before the chain starts again."""


@dataclass(frozen=True, slots=True)
class Due:
    page: tuple[str, ...]
    step: int
    """Counts on through the repetitions, so it is unique within one run of the chain."""
    next_in: timedelta
    """From now until the next step."""


def due_now(policy: EscalationPolicy, since_start: timedelta) -> Due:
    """What to page when the clock strikes `since_start` after the first page (0: the first page itself). A policy is
    stored with its incident: one from before rules were held to these bounds is still read within them."""
    begins = timedelta()
    together: list[EscalationStep] = []
    for index, step in enumerate(policy.steps):
        together.append(step)
        ends = begins + min(step.wait, LONGEST_WAIT)
        if since_start < ends:
            return Due(_everybody(together), index, ends - since_start)
        if ends > begins:
            together.clear()
        begins = ends
    repeat_every = min(max(policy.repeat_every, SHORTEST_REPEAT), LONGEST_WAIT)
    repeats, into_this_one = divmod(since_start - begins, repeat_every)
    return Due(_everybody(policy.steps), len(policy.steps) + repeats, repeat_every - into_this_one)


def _everybody(steps: Sequence[EscalationStep]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for step in steps for name in step.page))
