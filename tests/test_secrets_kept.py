"""What the daemon keeps for itself is made once, and what is in its way is told in words."""

from pathlib import Path

import pytest

from remediator.domain.errors import BadDocument
from remediator.secrets_kept import API_TOKEN_FILE, api_tokens
from remediator.settings import Settings


def kept_in(folder: Path) -> str:
    return api_tokens(Settings(data_dir=folder))["owner"].token.get_secret_value()


def test_a_token_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    first, second = kept_in(tmp_path / "data"), kept_in(tmp_path / "data")

    assert first == second
    assert (tmp_path / "data" / API_TOKEN_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("in_the_way", ["a folder", "no text", "a file for a folder"])
def test_a_token_that_cannot_be_kept_is_told(tmp_path: Path, in_the_way: str) -> None:
    folder = tmp_path / "data"
    if in_the_way == "a folder":
        (folder / API_TOKEN_FILE).mkdir(parents=True)
    elif in_the_way == "no text":
        folder.mkdir()
        (folder / API_TOKEN_FILE).write_bytes(b"\xff")
    else:
        folder.write_text("")

    with pytest.raises(BadDocument, match="the API token cannot be kept in"):
        kept_in(folder)
