"""One alert as it really is, two peers that tell of it, and a wire that loses, repeats, delays and reorders.

What must be believed of it is said twice: by a reference model of ten lines, and by the truth itself.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.episode import STALE_FOR, Filing
from tests.store.facts import alert

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Note:
    """A peer's view of the alert when it made up its notification; on the wire it grows old."""

    starts_at: datetime
    ends_at: datetime | None

    def alert(self, fingerprint: str) -> Alert:
        status = AlertStatus.FIRING if self.ends_at is None else AlertStatus.RESOLVED
        return alert(fingerprint, status=status, starts_at=self.starts_at, ends_at=self.ends_at)


class Fate(StrEnum):
    """Of a note on the wire."""

    ONCE = "once"
    TWICE = "twice"
    ONCE_AND_AGAIN_LATER = "once, and again later"
    LOST = "lost"


SECONDS = st.sampled_from((1, 1, 1, 30, 301))
"""Mostly at once; sometimes so late that a firing can no longer be a late one."""


@dataclass(slots=True)
class Model:
    """The reference: an alert fires if the newest start that was told is newer than the newest end that was told.

    An older start may be believed again when the end was heard of long ago: whoever tells it then is not late.
    """

    fires: bool = False
    start: datetime = NEVER
    end: datetime = NEVER
    end_heard: datetime = NEVER

    def hear(self, note: Note, now: datetime) -> None:
        if note.ends_at is None:
            opens = self.fires or note.starts_at > self.end or now - self.end_heard >= STALE_FOR
            if opens:
                self.start = max(self.start, note.starts_at) if self.fires else note.starts_at
            self.fires = opens
        else:
            ends = self.fires and note.ends_at >= self.start
            if ends or note.ends_at > self.end:
                self.end, self.end_heard = note.ends_at, now
            self.fires = self.fires and not ends


class Telling(RuleBasedStateMachine):
    """Subclasses say how a note is filed and what is believed afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.truth = Note(START, None)
        self.wire: list[Note] = []
        self.model = Model()
        self.heard_ends: dict[datetime, datetime] = {}
        """Each end that was told, and when it was told first."""
        self.heard_truth: Note | None = None
        """The truth as it was told last; it may have changed since."""

    def file(self, note: Note) -> Filing:
        raise NotImplementedError

    def believes(self) -> bool:
        raise NotImplementedError

    def pass_time(self, span: timedelta) -> None:
        self.now += span

    @initialize()
    def begin(self) -> None:
        self._change(Note(self.now, None))

    @rule(after=SECONDS)
    def it_changes(self, after: int) -> None:
        """What fires resolves, what has resolved fires again; one peer tells of it."""
        self.pass_time(timedelta(seconds=after))
        if self.truth.ends_at is None:
            self._change(Note(self.truth.starts_at, self.now))
        else:
            self._change(Note(self.now, None))

    @precondition(lambda self: len(self.wire) < 8)
    @rule()
    def the_other_peer_tells_of_it_too(self) -> None:
        self.wire.append(self.truth)

    @precondition(lambda self: bool(self.wire))
    @rule(data=st.data(), fate=st.sampled_from(Fate), after=SECONDS)
    def a_note_arrives(self, data: st.DataObject, fate: Fate, after: int) -> None:
        """Any of those on the wire: they do not keep their order."""
        self.pass_time(timedelta(seconds=after))
        note = self.wire[data.draw(st.integers(0, len(self.wire) - 1))]
        if fate is not Fate.ONCE_AND_AGAIN_LATER:
            self.wire.remove(note)
        if fate is not Fate.LOST:
            self._arrive(note)
        if fate is Fate.TWICE:
            self._arrive(note)

    def teardown(self) -> None:
        """Whatever was lost before: after the last truthful notification we agree with the world."""
        self._arrive(self.truth)
        assert self.believes() is (self.truth.ends_at is None)

    def _change(self, truth: Note) -> None:
        self.truth = truth
        self.wire.append(truth)

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.believes() is self.model.fires

    def _arrive(self, note: Note) -> None:
        filing = self.file(note)
        if filing is Filing.OPEN:
            assert not self._ended_lately(note), "a stale firing opened an episode"
        self.model.hear(note, self.now)
        if note.ends_at is not None:
            self.heard_ends.setdefault(note.ends_at, self.now)
        if note == self.truth:
            self.heard_truth = note
            assert self.believes() is (note.ends_at is None), "what is true and was just told is not believed"

    def _ended_lately(self, note: Note) -> bool:
        newest = max(self.heard_ends, default=NEVER)
        return newest >= note.starts_at and self.now - self.heard_ends[newest] < STALE_FOR

    @invariant()
    def no_firing_that_was_told_and_goes_on_is_forgotten(self) -> None:
        if self.truth.ends_at is None and self.truth == self.heard_truth:
            assert self.believes()
