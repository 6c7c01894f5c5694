"""Finds the plug-ins: one file, one class, named after its YAML name. Adding a file is the whole registration."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import ConfigDict

from remediator.domain.errors import BadDocument
from remediator.language.documented import Documented
from remediator.language.duration import Duration, between


class Plugin(Documented):
    """A step people write in YAML: its fields are its parameters, its docstring is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @classmethod
    def yaml_name(cls) -> str:
        return cls.__module__.rpartition(".")[2]


StepTimeout = Annotated[
    Duration,
    between(
        timedelta(seconds=1),
        timedelta(minutes=5),
        why="its incident stands still meanwhile, and the lease must outlast a write; let it do less at once",
    ),
]
"""Of a look, a change or a check. It must fit the lease of an incident, too (`rules.timeouts`)."""

P = TypeVar("P")


@cache
def plugins_of(base: type[P]) -> Mapping[str, type[P]]:
    """YAML name -> class, for the family whose base class lives in its package's `__init__`.

    Raises `BadDocument` where a file does not hold exactly one subclass: the convention is the registration.
    """
    package = importlib.import_module(base.__module__)
    found: dict[str, type[P]] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        if not module_info.name.startswith("_"):
            found[module_info.name] = _only_class(f"{base.__module__}.{module_info.name}", base)
    return MappingProxyType(found)


def _only_class(module_name: str, base: type[P]) -> type[P]:
    module = importlib.import_module(module_name)
    classes = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, base) and member.__module__ == module_name
    ]
    if len(classes) != 1:
        raise BadDocument(f"{module_name} must hold exactly one {base.__name__}, found {len(classes)}")
    return classes[0]
