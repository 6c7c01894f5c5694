"""How far Remediator may go: look, propose, or act. The safest is the default."""

from enum import StrEnum


class Mode(StrEnum):
    OBSERVE = "observe"
    SUGGEST = "suggest"
    ACT = "act"


_REACH = {Mode.OBSERVE: 0, Mode.SUGGEST: 1, Mode.ACT: 2}


def lower(ceiling: Mode, wished: Mode) -> Mode:
    """The safer of the two: a rule can lower the ceiling, never raise it."""
    return ceiling if _REACH[ceiling] <= _REACH[wished] else wished
