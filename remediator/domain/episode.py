"""An episode: one alert from its first firing to its end, however often it is told.

`file_alert` decides what one delivered alert means for what we already know. `startsAt` is not stable
and nothing is ordered across Alertmanager peers (facts: intake 1.3, 1.6), so the rules below lean on
the episode we hold, not on the sender's story.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from remediator.domain.alert import Alert
from remediator.domain.ids import EpisodeId

STALE_FOR = timedelta(minutes=5)
"""A late firing from a second peer arrives within Alertmanager's flush deadline, max(10 s, group_interval),
so five minutes by default. A firing that still comes later than that is not late, it is true."""


class Filing(StrEnum):
    OPEN = "open"
    REFRESH = "refresh"
    CLOSE = "close"
    STALE = "stale"
    """Told out of order: recorded, not acted on."""
    UNKNOWN = "unknown"
    """A resolve of something we never knew: recorded only."""


class OpenEpisode(msgspec.Struct, frozen=True, gc=False):
    id: EpisodeId
    starts_at: datetime
    incident: int | None = None


class EndedEpisode(msgspec.Struct, frozen=True, gc=False):
    ends_at: datetime
    closed_at: datetime
    """When we heard of the end, by our clock."""


def file_alert(
    alert: Alert, *, open_episode: OpenEpisode | None, last_ended: EndedEpisode | None, now: datetime
) -> Filing:
    if open_episode is not None:
        return _file_into(open_episode, alert)
    if not alert.is_firing:
        return Filing.UNKNOWN
    return Filing.STALE if last_ended is not None and _is_late(alert, last_ended, now) else Filing.OPEN


def _file_into(episode: OpenEpisode, alert: Alert) -> Filing:
    if alert.is_firing:
        return Filing.REFRESH
    ended_before_this_began = alert.ends_at is not None and alert.ends_at < episode.starts_at
    return Filing.STALE if ended_before_this_began else Filing.CLOSE


def _is_late(alert: Alert, ended: EndedEpisode, now: datetime) -> bool:
    return alert.starts_at <= ended.ends_at and now - ended.closed_at < STALE_FOR
