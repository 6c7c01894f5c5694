"""Answers of Redis are read up to a size: a server says how much comes, and the library would wait for all of it.

Imports the library, and so is imported where a connection is made.
"""

from redis._parsers import _AsyncRESP2Parser, _AsyncRESP3Parser
from redis._parsers.base import _AsyncRESPBase
from redis.exceptions import ResponseError

MOST_BYTES = 1024 * 1024
MOST_ELEMENTS = 10_000


class AnswerTooLong(ResponseError):
    """The rest of it is still on its way: the library gives such a connection up."""

    def __init__(self) -> None:
        super().__init__(
            f"the answer is longer than {MOST_BYTES >> 20} MiB or {MOST_ELEMENTS:,} elements, and was not read: "
            "ask for less of it (a section of INFO, a part of a value by GETRANGE)"
        )


class _Bounded(_AsyncRESPBase):
    """`_pos` is how much of the answer was read; each element of it begins with a line."""

    _elements = 0

    async def _read(self, length: int) -> bytes:
        if self._pos + length > MOST_BYTES:
            raise AnswerTooLong
        return await super()._read(length)

    async def _readline(self) -> bytes:
        self._elements = self._elements + 1 if self._pos else 1
        if self._elements > MOST_ELEMENTS or self._pos > MOST_BYTES:
            raise AnswerTooLong
        try:
            return await super()._readline()
        except ValueError as error:  # a line is never that long in what Redis sends
            raise AnswerTooLong from error


class ShortAnswersOfVersion2(_Bounded, _AsyncRESP2Parser):
    pass


class ShortAnswersOfVersion3(_Bounded, _AsyncRESP3Parser):
    pass
