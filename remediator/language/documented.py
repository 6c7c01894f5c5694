"""Models whose fields are documented by the text beneath them, read when somebody wants a JSON Schema.

pydantic can read them itself, but does it at import: it opens and parses the source of every model at every start.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler


class Documented(BaseModel):
    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_docs(cls).items():
            key = cls.model_fields[name].alias or name
            if key in properties:
                properties[key].setdefault("description", text)
        return schema


def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Of the model's own fields and of those it inherits."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            found |= dict(_docs_beneath(kind))
    return {name: text for name, text in found.items() if name in model.model_fields}


def _docs_beneath(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    for field, text in pairwise(statements):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(written))),
            ):
                yield name, inspect.cleandoc(written)
