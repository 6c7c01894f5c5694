"""Double-quoted strings as Go reads and writes them: Alertmanager's matchers are quoted this way."""

import re
from typing import Final

_PIECE: Final = re.compile(
    r"""\\(?:(?P<letter>[abfnrtv\\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})
        |u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))|(?P<plain>[^\\"\n]+)""",
    re.VERBOSE,
)
_LETTERS: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_ESCAPED: Final = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def unquote(quoted: str) -> str:
    """Raises `ValueError` for an unknown escape or for bytes that are not UTF-8."""
    inner = quoted[1:-1]
    if inner.isascii() and inner.isprintable() and "\\" not in inner and '"' not in inner:
        return inner
    decoded = bytearray()
    position = 0
    while position < len(inner):
        piece = _PIECE.match(inner, position)
        if piece is None:
            raise ValueError(f"unknown escape at {position + 1}")
        decoded += _bytes_of(piece)
        position = piece.end()
    return decoded.decode("utf-8")


def quote(text: str) -> str:
    return '"' + "".join(_escape(character) for character in text) + '"'


def _bytes_of(piece: re.Match[str]) -> bytes:
    kind, text = piece.lastgroup, piece[piece.lastgroup or 0]
    match kind:
        case "plain":
            return text.encode("utf-8")
        case "letter":
            return bytes([_LETTERS[text]])
        case "byte":
            return bytes([int(text, 16)])
        case "octal":
            return bytes([int(text, 8)])
        case _:
            return chr(int(text, 16)).encode("utf-8")


def _escape(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isprintable() or ord(character) > 0xFF:
        return character
    return f"\\u{ord(character):04x}"
