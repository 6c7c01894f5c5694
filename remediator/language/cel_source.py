"""The text of a CEL expression before and after the compiler: where a marker ends, what `has()` asks, what went wrong.

It knows CEL's tokens, never its grammar; the compiler stays the judge.
"""

import re
from collections.abc import Collection
from typing import Final

from remediator.domain.errors import BadDocument
from remediator.language.suggestion import did_you_mean

KNOWN: Final = "has_."
"""`has_.alert.status` is the hidden variable that tells whether `alert.status` has a value."""

_RESERVED: Final = re.compile(
    "as|break|const|continue|else|false|for|function|has|if|import|in|let|loop|namespace|null|package|return|true|var"
    "|void|while"
)
_IDENTIFIER: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_GAP: Final = r"(?:\s|//[^\n]*)*"
_PATH: Final = rf"\.?{_GAP}{_IDENTIFIER}(?:{_GAP}\.{_GAP}{_IDENTIFIER})*"
_TOKEN: Final = re.compile(
    r'(?P<text>[bB]?[rR][bB]?(?:"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"[^"\n]*"|\'[^\'\n]*\')'
    r"|[bB]?(?:\"\"\"(?:\\[\s\S]|[^\\])*?\"\"\"|'''(?:\\[\s\S]|[^\\])*?''')"
    r"|[bB]?(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'))"
    r"|(?P<comment>//[^\n]*)"
    rf"|(?P<has>has{_GAP}\({_GAP}(?P<asked>{_PATH}){_GAP}\))"
    rf"|(?P<nested>has{_GAP}\({_GAP}\()"
    rf"|(?P<word>{_IDENTIFIER})"
    r"|(?P<other>[\s\S])"
)
_DIAGNOSIS: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?=\n \| |\nERROR: | \[[A-Z_]+\]$|$)", re.DOTALL)
_UNKNOWN: Final = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']*)' applied to '(\(.*\))'", re.DOTALL)
_NUMBERS: Final = re.compile(r"\((int|double), (int|double)\)")


class ExpressionError(BadDocument):
    """An expression that cannot be used; `line` and `column` count from 1 inside its text.

    `path` leads from the value handed to `compile_value` to the text that holds it.
    """

    def __init__(
        self, message: str, line: int, column: int, *, hint: str = "", path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(f"{message}: {hint}" if hint else message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint
        self.path = path


def is_name(text: str) -> bool:
    """Whether it can be a part of a variable's dotted name."""
    return re.fullmatch(_IDENTIFIER, text) is not None and not _RESERVED.fullmatch(text)


def words(source: str) -> frozenset[str]:
    return frozenset(re.findall(_IDENTIFIER, source))


def ask_about_values(source: str, variables: Collection[str]) -> str:
    """Turns `has(alert.starts_at)` on a whole variable into its hidden twin, of the same length.

    CEL's `has` is for fields of messages and keys of maps; on a dotted variable it yields the variable itself.
    """
    if "has" not in source:
        return source

    def ask(token: re.Match[str]) -> str:
        if token["nested"]:
            before = source[: token.start()]
            line, column = before.count("\n") + 1, token.start() - before.rfind("\n")
            raise ExpressionError("has() takes a name without parentheses around it", line, column)
        path = re.sub(rf"{_GAP}\.{_GAP}", ".", token["asked"] or "").strip().removeprefix(".")
        if not token["has"] or path not in variables or source[: token.start()].rstrip().endswith("."):
            return token[0]
        return f"{KNOWN}{path}".ljust(len(token[0])) + "\n" * token[0].count("\n")

    return _TOKEN.sub(ask, source)


def end_of_marker(text: str, start: int) -> int | None:
    """Where the `}}` stands that closes an expression starting at `start`; None where there is none."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth:
            depth -= 1
        elif token[0] == "}" and text.startswith("}}", token.start()):
            return token.start()
    return None


def explain_refusal(refusal: str, source: str, variables: Collection[str]) -> ExpressionError:
    """The compiler's first complaint, in the words of somebody who writes rules."""
    found = _DIAGNOSIS.search(refusal)
    if found is None:
        return ExpressionError(_without_status(refusal), 1, 1)
    line, column, complaint = max(int(found[1]), 1), max(int(found[2]), 1), found[3].strip()
    if unknown := _UNKNOWN.search(complaint):
        column = _start_of(unknown[1], source, line=line, column=column)
        return ExpressionError(
            f"unknown name {unknown[1]!r}", line, column, hint=_suggest(unknown[1], sorted(variables))
        )
    if overload := _OVERLOAD.search(complaint):
        return _wrong_operands(overload[1], overload[2], line=line, column=column)
    return ExpressionError(_plain_syntax(complaint), line, column)


def explain_failure(failure: str) -> str:
    """A run-time error, without the library's status words."""
    reason = _without_status(failure)
    reason = re.sub(r'No value with name "(.*)" found in Activation', r"\1 has no value", reason)
    reason = re.sub(r"Key not found in map : ", "there is no key ", reason)
    return re.sub("Iteration budget exceeded", "it would take more than 10,000 steps", reason)


def _without_status(text: str) -> str:
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", text).strip()


def _start_of(name: str, source: str, *, line: int, column: int) -> int:
    """The compiler points at the last dot of a name; people look for its beginning."""
    text = source.split("\n")[line - 1]
    start = text.rfind(name, 0, column + len(name))
    return start + 1 if start >= 0 else column


def _suggest(unknown: str, variables: Collection[str]) -> str:
    inside = [name for name in variables if name.startswith(f"{unknown}.")]
    if inside:
        return f"it holds {', '.join(inside)}"
    parts = unknown.split(".")
    likely = {".".join(parts[: name.count(".") + 1]): name for name in variables}
    by_written = [did_you_mean(written, [name]) for written, name in likely.items() if name != written]
    return did_you_mean(unknown, variables) or next(filter(None, by_written), "")


def _wrong_operands(function: str, operands: str, *, line: int, column: int) -> ExpressionError:
    operands = operands.replace("google.protobuf.", "").lower()
    operator = function.replace("_", "").replace("@", "") or function
    numbers = _NUMBERS.fullmatch(operands)
    hint = "write 1.0 instead of 1, or double(...) around the int" if numbers and numbers[1] != numbers[2] else ""
    return ExpressionError(f"{operator!r} does not work on {operands}", line, column, hint=hint)


def _plain_syntax(complaint: str) -> str:
    text = re.sub(r" expecting \{.*\}|^Syntax error: ", "", complaint, flags=re.DOTALL)
    text = re.sub(r"(mismatched|extraneous) input '<EOF>'", "the expression ends too early", text)
    return re.sub(r"(mismatched|extraneous) input", "unexpected", text).replace(
        "token recognition error at:", "cannot read"
    )
