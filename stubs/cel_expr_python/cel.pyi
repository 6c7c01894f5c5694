# The part of cel-expr-python 0.1 that remediator.language.expression uses; its own .pyi comes without py.typed.

from collections.abc import Mapping, Sequence
from typing import ClassVar

class Activation: ...
class CelExtensionBase: ...

class Type:
    BOOL: ClassVar[Type]
    DOUBLE: ClassVar[Type]
    DURATION: ClassVar[Type]
    DYN: ClassVar[Type]
    ERROR: ClassVar[Type]
    INT: ClassVar[Type]
    STRING: ClassVar[Type]
    TIMESTAMP: ClassVar[Type]
    @staticmethod
    def List(element_type: Type) -> Type: ...  # noqa: N802
    @staticmethod
    def Map(key_type: Type, element_type: Type) -> Type: ...  # noqa: N802
    def name(self) -> str: ...

class Value:
    def plain_value(self) -> object: ...
    def type(self) -> Type: ...

class Expression:
    def eval(self, activation: Activation | None = ..., data: Mapping[str, object] | None = ...) -> Value: ...
    def return_type(self) -> Type: ...

class Env:
    def Activation(self, data: Mapping[str, object] | None = ...) -> Activation: ...  # noqa: N802
    def compile(self, expression: str) -> Expression: ...

def NewEnv(  # noqa: N802
    *, variables: Mapping[str, Type] | None = ..., extensions: Sequence[CelExtensionBase] | None = ...
) -> Env: ...
