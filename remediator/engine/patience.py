"""How long a message is tried by one contact before the next has its turn, and in how long again. Pure, but for the
jitter."""

import random
from datetime import timedelta

from remediator.domain.errors import Ambiguous, RemediatorError, Temporary
from remediator.domain.notification import NotificationKind
from remediator.store.outbox import OutboxItem

TRIES_PER_CHANNEL = 3
OFTEN_FOR = timedelta(minutes=20)
"""Where no channel is left: longer than most outages of our own way out, and than most waits for the next step."""
TRIED_FOR = timedelta(days=1)
"""Where no channel is left, also where nobody knows whether it arrived: for some no step follows, or one tomorrow."""
FIRST_RETRY = timedelta(seconds=5)
MOST_DOUBLED = 10
"""By then it is longer than any wait."""
LONGEST_WAIT = timedelta(seconds=30)
"""A channel that wants a longer pause is passed over: the next channel is quicker."""
LONGEST_WAIT_LATER = timedelta(minutes=5)
"""After `OFTEN_FOR`."""


def is_unanswered(error: Exception) -> bool:
    """It may have arrived."""
    return isinstance(error, (Ambiguous, TimeoutError))


def retry_in(item: OutboxItem, error: Exception) -> timedelta | None:
    """None: no further try on this channel."""
    wait, has_tries_left = _pause(item.attempts, error), item.attempts + 1 < TRIES_PER_CHANNEL
    if _is_the_last_chance(item):
        at_most = LONGEST_WAIT if item.age < OFTEN_FOR else LONGEST_WAIT_LATER
        is_worth_it = item.age < _patience(item, error) or has_tries_left  # an old one may not have been tried at all
        return min(wait, at_most) if is_worth_it and not _is_final(error) else None
    may_work = isinstance(error, Temporary) and has_tries_left
    return wait if may_work and wait <= LONGEST_WAIT else None


def _is_the_last_chance(item: OutboxItem) -> bool:
    """For a page that is when every channel is tried. That it is over goes to no other channel."""
    return item.is_last_resort or (item.kind is NotificationKind.RESOLVED and len(item.reach) == 1)


def _patience(item: OutboxItem, error: Exception) -> timedelta:
    """Nobody can stop a notice that arrives, unanswered, again and again."""
    return OFTEN_FOR if item.kind is NotificationKind.RESOLVED and is_unanswered(error) else TRIED_FOR


def _is_final(error: Exception) -> bool:
    """A no that we understand. What a library of ours trips over now may be gone in a minute."""
    return isinstance(error, RemediatorError) and not isinstance(error, (Temporary, Ambiguous))


def _pause(attempts: int, error: Exception) -> timedelta:
    """Jitter, for many pages must not knock in step; or what the channel asked for, where that is longer."""
    jitter = random.uniform(0.5, 1)  # noqa: S311  # spreads load, guards nothing
    pause = timedelta(seconds=FIRST_RETRY.total_seconds() * 2 ** min(attempts, MOST_DOUBLED) * jitter)
    asked = error.retry_after_seconds if isinstance(error, Temporary) else None
    return max(pause, timedelta(seconds=asked or 0))
