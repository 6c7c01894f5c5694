"""What may be asked of other people's Redis or Valkey: what changes nothing, walks nothing long and answers briefly."""

from collections.abc import Mapping, Sequence

from remediator.domain.errors import NotAllowed

_NOTHING, _ONE = range(1), range(1, 2)

LOOKS: Mapping[str, range] = {
    "PING": range(2),
    "INFO": range(8),
    "DBSIZE": _NOTHING,
    "ROLE": _NOTHING,
    "TIME": _NOTHING,
    "LASTSAVE": _NOTHING,
    "CLUSTER INFO": _NOTHING,
    "LATENCY DOCTOR": _NOTHING,
    "LATENCY HISTORY": _ONE,
    "LATENCY LATEST": _NOTHING,
    "MEMORY DOCTOR": _NOTHING,
    "MEMORY STATS": _NOTHING,
    "SLOWLOG GET": range(2),
    "SLOWLOG LEN": _NOTHING,
    "EXISTS": range(1, 8),
    "TYPE": _ONE,
    "TTL": _ONE,
    "PTTL": _ONE,
    "GET": _ONE,
    "GETRANGE": range(3, 4),
    "STRLEN": _ONE,
    "LLEN": _ONE,
    "HLEN": _ONE,
    "SCARD": _ONE,
    "ZCARD": _ONE,
    "ZCOUNT": range(3, 4),
    "XLEN": _ONE,
    "XPENDING": range(2, 3),  # with a range it lists what is pending, one by one
    "XINFO GROUPS": _ONE,
    "MEMORY USAGE": _ONE,  # `SAMPLES 0` walks all that a key holds
    "OBJECT ENCODING": _ONE,
    "OBJECT FREQ": _ONE,
    "OBJECT IDLETIME": _ONE,
}
"""Each with how many arguments it may have. All that look at keys are what Redis itself marks as `readonly`; the first
ones are about the server, of which it marks none."""
MOST_ENTRIES = 128
"""Of the slow log: what Redis keeps, unless it was told to keep more."""
MOST_OF_A_VALUE = 8_192
"""Bytes. Redis sends a value whole, however large it is, to whoever asks for it by GET."""

_INSTEAD: Mapping[str, str] = {
    "CONFIG": "it shows passwords; INFO has most of what it says",
    "CLIENT": "it shows who is connected, and may be as long as they are many; INFO clients counts them",
    "KEYS": "it stops the server while it walks all keys; DBSIZE counts them",
    "MGET": "GET reads one value",
    "LRANGE": "LLEN says how long a list is",
    "HGETALL": "HLEN says how many fields a hash has",
    "SMEMBERS": "SCARD says how many members a set has",
    "ZRANGE": "ZCARD and ZCOUNT say how many members a sorted set has",
    "XRANGE": "XLEN, XPENDING and XINFO GROUPS say how long a stream is, and what of it is not read",
}


class NotALook(NotAllowed):
    """A Redis command that is not on the list, or not in this form."""

    def __init__(self, message: str, *, word: int | None = None) -> None:
        super().__init__(message)
        self.word = word
        """Which one of the command is wrong; None: it is about all of it."""


def as_sent(command: Sequence[str]) -> list[str]:
    """Raises `NotALook`."""
    words = [*command[0].split(), *command[1:]] if command else []
    name = _name(words)
    arguments = words[len(name.split()) :]
    if len(arguments) not in LOOKS[name]:
        raise NotALook(f"{name} takes {_spelled(LOOKS[name])} here, not {len(arguments)}")
    match name:
        case "SLOWLOG GET" if arguments and not _is_few(arguments[0]):
            raise NotALook(f"SLOWLOG GET takes a number from 1 to {MOST_ENTRIES} here, not {arguments[0]!r}")
        case "GETRANGE" if not _is_short(*arguments[1:]):
            raise NotALook(f"GETRANGE takes a first and a last byte here, counted from 0, {MOST_OF_A_VALUE:,} at most")
        case "GET":
            return ["GETRANGE", *arguments, "0", str(MOST_OF_A_VALUE - 1)]
        case _:
            return words


def _name(words: Sequence[str]) -> str:
    first, both = (" ".join(words[:length]).upper() for length in (1, 2))
    if first in LOOKS:
        return first
    if both in LOOKS:
        return both
    family = [name for name in LOOKS if name.startswith(f"{first} ")]
    told = f"{both if family else first or 'an empty command'} is not on the list of read-only commands"
    hint = _INSTEAD.get(first) or f"these are: {', '.join(sorted(family or LOOKS))}"
    raise NotALook(f"{told}: {hint}", word=1 if family and len(words) > 1 else 0)


def _spelled(allowed: range) -> str:
    least, most = allowed[0], allowed[-1]
    if not most:
        return "no arguments"
    return f"{most if least == most else f'{least} to {most}'} argument{'s' if most > 1 else ''}"


def _is_few(number: str) -> bool:
    return _is_number(number) and 1 <= int(number) <= MOST_ENTRIES


def _is_short(first: str, last: str) -> bool:
    return _is_number(first) and _is_number(last) and int(last) - int(first) < MOST_OF_A_VALUE


def _is_number(text: str) -> bool:
    """No more digits than a value of Redis has bytes: half a gigabyte."""
    return text.isascii() and text.isdecimal() and len(text) <= 9
