"""Folders for a server that, as root, is another user."""

from pathlib import Path


def open_to_all(folder: Path | str) -> Path:
    """Whoever knows its name gets to it: those who make temporary folders close them to everybody else."""
    for closed in (Path(folder), *Path(folder).parents):
        if not closed.stat().st_mode & 0o001:
            closed.chmod(closed.stat().st_mode | 0o011)
    return Path(folder)
