"""Which files a folder of rules holds, and whether any of them is another one than before."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_ENDINGS = (".yaml", ".yml")
"""In whatever case. Only `.yaml` is read; the others are here to be told of, for somebody takes them for rules."""
OnError = Callable[[OSError], None] | None


def rule_files(folder: Path, *, on_error: OnError = None) -> Iterator[Path]:
    """In the order that counts. Without the hidden folders that a ConfigMap's files are links into. A link that leads
    nowhere is among them: what it should lead to is missed. `on_error` hears of folders that cannot be listed."""
    yield from sorted(Path(path) for path in _paths(str(folder), on_error) if _is_file_or_lost(path))


def state_of(folder: Path) -> str:
    """Changes whenever a file does, or comes, or goes; reads none of them, since it is asked every few seconds.

    What is looked at is the file a link leads to. A ConfigMap's swap leads each link to a new file, which has another
    number (inode) whatever its times say; an edit in place changes the times, and a copy that keeps the modification
    time still gets its own change time.
    """
    digest = hashlib.sha256()
    for path in sorted(_paths(str(folder))):
        try:
            found = os.stat(path)  # noqa: PTH116  # thousands of them
        except OSError:
            continue
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        digest.update(f"{path}\0{identity}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_file_or_lost(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113  # a Path for each of thousands costs more than the look


def _paths(folder: str, on_error: OnError = None) -> Iterator[str]:
    """Links into folders are followed, for a ConfigMap's folders are such links; each folder is read once."""
    seen: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=on_error):
        try:
            here = os.stat(where)  # noqa: PTH116
        except OSError as error:  # gone in the middle of a swap
            if on_error is not None:
                on_error(error)
            continue
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield os.path.join(where, name)  # noqa: PTH118  # thousands of them
