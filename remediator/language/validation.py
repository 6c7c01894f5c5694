"""What pydantic found wrong, in words for the person who wrote the file, at its place in it."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from remediator.language.document import Document, Path, Problem
from remediator.language.suggestion import did_you_mean


def explain_validation_error(
    error: ValidationError, document: Document, *, at: Path = (), model: type[BaseModel] | None = None
) -> list[Problem]:
    """`at` is where in the document the validated part stands; `model`, where given, knows how keys are spelt."""
    return [
        explain_detail(detail, document, at=at, model=model)
        for detail in error.errors(include_url=False, include_input=True)
    ]


def explain_detail(
    detail: ErrorDetails, document: Document, *, at: Path, model: type[BaseModel] | None = None
) -> Problem:
    path = _path_in(document.data, (*at, *detail["loc"]))
    match detail["type"]:
        case "extra_forbidden":
            known = keys_of(_model_at(model, detail["loc"][:-1]))
            return document.problem(path, f"unknown key {path[-1]!r}", hint=_key_hint(str(path[-1]), known), key=True)
        case "missing":
            owner = path[:-1] if path and path[-1] == detail["loc"][-1] else path
            return document.problem(owner, f"{str(detail['loc'][-1])!r} is missing", key=True)
        case "literal_error" | "enum":
            expected = str((detail.get("ctx") or {}).get("expected", ""))
            hint = did_you_mean(str(detail["input"]), [word.strip("' ") for word in _split(expected)])
            return document.problem(path, f"{_shown(detail['input'])} is not {expected}", hint=hint)
        case "value_error":
            return document.problem(path, str((detail.get("ctx") or {}).get("error", detail["msg"])))
        case _:
            message = detail["msg"].removeprefix("Input ")
            return document.problem(path, f"{_shown(detail['input'])} {message}")


def keys_of(model: type[BaseModel] | None) -> list[str]:
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _path_in(data: object, location: Sequence[str | int]) -> Path:
    """Drops the parts that name no place in the file (the tags of unions), and keeps what is missing from it."""
    path: list[str | int] = []
    for position, part in enumerate(location):
        if _has(data, part):
            data = data[part]  # type: ignore[index]  # `_has` has looked
        elif position < len(location) - 1 or not isinstance(data, Mapping):
            continue
        path.append(part)
    return tuple(path)


def _has(data: object, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _model_at(model: type[BaseModel] | None, location: Sequence[str | int]) -> type[BaseModel] | None:
    for part in location:
        if model is None:
            return None
        if isinstance(part, str):
            found = next((f for n, f in model.model_fields.items() if part in {n, f.alias}), None)
            if found is not None:
                model = _model_within(found.annotation)
    return model


def _model_within(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_within(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)


def _key_hint(written: str, known: Iterable[str]) -> str:
    known = list(known)
    return did_you_mean(written, known) or (f"known: {', '.join(known)}" if known else "")


def _split(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
