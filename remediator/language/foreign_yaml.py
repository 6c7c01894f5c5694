"""YAML that is another program's: read as leniently as that program does, each part with its place in the file.

What people write for us goes through `strict_yaml`. Here anchors, merge keys and YAML 1.1's plain values are welcome.
"""

import yaml

from remediator.language.document import BadYaml, Document, Mark, Path, Places, Problem


def load_foreign(text: str, path: str) -> Document:
    """Its first document; JSON is YAML too. Raises `BadYaml` where it is none, or is no mapping."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise BadYaml(Problem(path, line, column, str(error.problem or "not YAML"))) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadYaml(Problem(path, 1, 1, f"not YAML: {error}")) from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise BadYaml(Problem(path, 1, 1, "it must be a mapping, `key: value`"))
    places = Places()
    _note(node, (), places, set())
    return Document(data, path, lambda: places)


def _note(node: yaml.Node | None, path: Path, places: Places, seen: set[int]) -> None:
    """An anchored part keeps the place where it was written first."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    places.values[path] = _mark(node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            places.keys[here] = _mark(key)
            _note(value, here, places, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _note(item, (*path, number), places, seen)


def _mark(node: yaml.Node) -> Mark:
    start = node.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)
