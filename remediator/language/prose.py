"""Jinja2 for prose only: messages and post-mortems, written by rule authors about hostile data.

Jinja's sandbox guards attributes and bounds nothing, so this module takes constructs away until the cost is bounded:
no calls, no assignments, no powers, loops and filters paid from one budget, a cap on the output.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import cache
from types import TracebackType
from typing import Final

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from remediator.domain.errors import BadDocument
from remediator.language.prose_filters import FILTERS, LONGEST_TEXT, TESTS, ProseLimit
from remediator.language.suggestion import did_you_mean
from remediator.language.text import to_text

Escape = Callable[[str], str]
"""What a sink needs done to interpolated values; the template's own words are left as they are."""

_BUDGET: Final = 50_000
# A space cannot stand in a name, so no template can reach these.
_SPENT, _ESCAPE, _PACED, _WEIGHED = " spent", " escape", " paced", " weighed"
_LOOP_FACTS: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth"})
_ALLOWED: Final = (
    nodes.Template | nodes.Output | nodes.TemplateData | nodes.If | nodes.For
    | nodes.Name | nodes.Const | nodes.List | nodes.Tuple | nodes.Dict | nodes.Pair | nodes.Keyword
    | nodes.Getattr | nodes.Getitem | nodes.Slice | nodes.Filter | nodes.Test
    | nodes.Compare | nodes.Operand | nodes.And | nodes.Or | nodes.Not | nodes.CondExpr
    | nodes.Add | nodes.Sub | nodes.Mul | nodes.Div | nodes.FloorDiv | nodes.Mod | nodes.Neg | nodes.Pos
)  # fmt: skip


class ProseError(BadDocument):
    """A message template that cannot be read, or cannot be filled in; `line` counts from 1 inside it."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.message = message
        self.line = line


class Prose:
    """A parsed template; it may be rendered any number of times."""

    __slots__ = ("_template", "source", "variables")

    def __init__(self, source: str, template: jinja2.Template, variables: frozenset[str]) -> None:
        self.source = source
        self.variables = variables
        """The outermost names it looks at, such as `alert`."""
        self._template = template

    def render(self, values: Mapping[str, object], *, escape: Escape | None = None) -> str:
        """Dotted names (`alert.labels`) become nested mappings; a missing one is a `ProseError`, never a gap."""
        context = {**_nest(values), _SPENT: [0], _ESCAPE: escape}
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(context):
                length += len(piece)
                if length > LONGEST_TEXT:
                    raise ProseLimit(f"the text is longer than {LONGEST_TEXT} characters")
                pieces.append(piece)
        except Exception as error:
            # A template runs filters over values nobody has checked: whatever goes wrong there is the template's error.
            raise ProseError(_reason(error), _line_of(error.__traceback__)) from error
        return "".join(pieces)


def parse_prose(text: str) -> Prose:
    if len(text) > LONGEST_TEXT:
        raise ProseError(f"a template may have {LONGEST_TEXT} characters, this has {len(text)}", 1)
    environment = _environment()
    try:
        tree = environment.parse(text)
        _refuse_unbounded(tree)
        variables = frozenset(meta.find_undeclared_variables(tree))
        _make_pay(tree)
        return Prose(text, environment.from_string(tree), variables)
    except jinja2.TemplateSyntaxError as error:
        raise ProseError(error.message or "syntax error", error.lineno) from error
    except (RecursionError, SyntaxError, MemoryError) as error:
        # Python's own compiler gives up on what nests too deep.
        raise ProseError("it nests too deep", 1) from error


class _Environment(ImmutableSandboxedEnvironment):
    """Looks into mappings, lists and text; everything else has no parts."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def getattr(self, obj: object, attribute: str) -> object:
        return self.getitem(obj, attribute)

    def getitem(self, obj: object, argument: object) -> object:
        if isinstance(obj, Undefined):
            return str(obj)  # raises, naming what is undefined
        if isinstance(obj, Mapping) and argument in obj:
            return obj[argument]
        if isinstance(obj, LoopContext) and argument in _LOOP_FACTS:
            return getattr(obj, str(argument))
        if isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
            return self._element(obj, argument)
        return self.undefined(obj=obj, name=str(argument))

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if not (isinstance(left, int | float) and isinstance(right, int | float)) or operator == "**":
            raise SecurityError(f"{operator!r} works on numbers only")
        return super().call_binop(context, operator, left, right)

    def _element(self, obj: list[object] | tuple[object, ...] | str, argument: int | slice) -> object:
        try:
            return obj[argument]
        except IndexError:
            return self.undefined(f"there is no element {argument} in {len(obj)}")


@cache
def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        finalize=_write,
        autoescape=False,
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals = {}
    environment.filters = {**FILTERS, _PACED: _pace, _WEIGHED: _weigh}
    environment.tests = {**TESTS}
    return environment


def _refuse_unbounded(tree: nodes.Template) -> None:
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            raise ProseError(f"{_construct(node)} are not for prose", node.lineno)
        if isinstance(node, nodes.Name) and node.name == "self":
            raise ProseError("'self' is not for prose", node.lineno)
        if isinstance(node, nodes.Filter):
            _refuse_unknown(node.name, FILTERS, what="filter", line=node.lineno)
        if isinstance(node, nodes.Test):
            _refuse_unknown(node.name, TESTS, what="test", line=node.lineno)
        if isinstance(node, nodes.For):
            _refuse_made_up_loops(node)


def _refuse_unknown(name: str, allowed: Mapping[str, object], *, what: str, line: int) -> None:
    if name not in allowed:
        raise ProseError(f"there is no {what} {name!r} in prose; {did_you_mean(name, allowed)}".rstrip("; "), line)


def _refuse_made_up_loops(loop: nodes.For) -> None:
    """A loop inside a loop must go over what the values hold, not over a list the template makes up."""
    if loop.recursive:
        raise ProseError("recursive loops are not for prose", loop.lineno)
    for inner in loop.find_all(nodes.For):
        source: nodes.Node | None = inner.iter
        while isinstance(source, nodes.Getattr | nodes.Getitem | nodes.Filter):
            source = source.node
        if not isinstance(source, nodes.Name):
            raise ProseError("a loop inside a loop must go over a value", inner.lineno)


def _make_pay(tree: nodes.Template) -> None:
    for filtered in list(tree.find_all(nodes.Filter)):
        filtered.node = _filter(filtered.node, _WEIGHED)
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = _filter(loop.iter, _PACED)


def _filter(node: nodes.Node | None, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno if node else 1)


@jinja2.pass_context
def _pace(context: Context, values: Iterable[object]) -> Iterator[object]:
    for value in values:
        _spend(context, 1)
        yield value


@jinja2.pass_context
def _weigh(context: Context, value: object) -> object:
    if isinstance(value, Sized) and not isinstance(value, Undefined):
        _spend(context, 1 + len(value) // (128 if isinstance(value, str) else 1))
    return value


def _spend(context: Context, amount: int) -> None:
    spent = context.parent[_SPENT]
    spent[0] += amount
    if spent[0] > _BUDGET:
        raise ProseLimit(f"it would take more than {_BUDGET} steps")


@jinja2.pass_context
def _write(context: Context, value: object) -> str:
    text = "unknown" if value is None else str(value) if isinstance(value, Undefined) else to_text(value)
    escape: Escape | None = context.parent[_ESCAPE]
    return escape(text) if escape else text


def _nest(values: Mapping[str, object]) -> dict[str, object]:
    nested: dict[str, object] = {}
    for name in sorted(values):
        *outer, last = name.split(".")
        inside = nested
        for part in outer:
            held = inside.get(part)
            deeper: dict[str, object] = dict(held) if isinstance(held, Mapping) else {}
            inside[part] = deeper
            inside = deeper
        inside[last] = values[name]
    return nested


def _construct(node: nodes.Node) -> str:
    named = {nodes.Call: "calls", nodes.Pow: "powers", nodes.Concat: "'~' joins", nodes.Assign: "assignments"}
    return named.get(type(node), f"{type(node).__name__.lower()} tags")


def _reason(error: Exception) -> str:
    return error.message or "undefined" if isinstance(error, jinja2.TemplateError) else str(error)


def _line_of(traceback: TracebackType | None) -> int:
    line = 1
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
