"""Another replica needs the same database and the same rules, nothing else: its data folder may be empty."""

import json
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from remediator.domain.errors import BadDocument
from remediator.secrets_kept import API_TOKEN_FILE
from remediator.settings import Settings
from tests.system.conftest import SettingsOf
from tests.system.daemon import API_TOKEN, running

ReplicaIn = Callable[[str], Settings]


@pytest.fixture
def replica_in(settings_of: SettingsOf, tmp_path: Path) -> ReplicaIn:
    """A replica with a data folder of that name; its settings name no token."""

    def replica(folder: str) -> Settings:
        return settings_of("observe").model_copy(update={"data_dir": tmp_path / folder, "api_tokens": {}})

    return replica


def token_in(settings: Settings) -> Path:
    return settings.data_dir / API_TOKEN_FILE


def left_by_the_release_before(settings: Settings, token: str) -> None:
    settings.data_dir.mkdir()
    token_in(settings).write_text(token)


async def takes(url: str, token: str) -> bool:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{url}/api/v1/incidents") as response,
    ):
        return response.status == 200


async def test_replicas_take_each_others_token(replica_in: ReplicaIn) -> None:
    one, other = replica_in("one"), replica_in("other")

    async with running(one) as (first, _), running(other) as (second, _):
        token = token_in(one).read_text()
        taken = [await takes(url, token) for url in (first.url, second.url)]

    assert taken == [True, True]
    assert token_in(other).read_text() == token
    assert token_in(other).stat().st_mode & 0o777 == 0o600


async def test_the_token_survives_an_empty_data_folder(replica_in: ReplicaIn) -> None:
    settings = replica_in("data")
    async with running(settings):
        token = token_in(settings).read_text()
    token_in(settings).unlink()

    async with running(settings) as (again, _):
        assert await takes(again.url, token)

    assert token_in(settings).read_text() == token


async def test_a_token_of_an_older_release_becomes_everybodys(replica_in: ReplicaIn) -> None:
    left_by_the_release_before(replica_in("old"), "of-the-release-before")

    async with running(replica_in("old")), running(replica_in("new")) as (another, _):
        assert await takes(another.url, "of-the-release-before")

    assert token_in(replica_in("new")).read_text() == "of-the-release-before"


async def test_a_second_token_of_an_older_release_goes_on_working_where_its_folder_is(replica_in: ReplicaIn) -> None:
    for folder in ("first", "second"):
        left_by_the_release_before(replica_in(folder), f"of-the-{folder}")

    async with running(replica_in("first")) as (first, _), running(replica_in("second")) as (second, _):
        of_the_first = [await takes(url, "of-the-first") for url in (first.url, second.url)]
        of_the_second = [await takes(url, "of-the-second") for url in (first.url, second.url)]

    assert (of_the_first, of_the_second) == ([True, True], [False, True])
    assert token_in(replica_in("second")).read_text() == "of-the-second"


async def test_tokens_of_the_settings_win_and_none_is_made(settings_of: SettingsOf) -> None:
    settings = settings_of("observe")
    settings.data_dir.mkdir()
    token_in(settings).write_text("of-the-release-before")

    async with running(settings) as (started, _):
        assert await takes(started.url, API_TOKEN)
        assert not await takes(started.url, "of-the-release-before")
        async with started.database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM api_token") == 0


async def test_no_log_tells_a_token(replica_in: ReplicaIn, capsys: pytest.CaptureFixture[str]) -> None:
    left_by_the_release_before(replica_in("first"), "of-the-first")
    left_by_the_release_before(replica_in("second"), "of-the-second")

    async with running(replica_in("first")), running(replica_in("second")):
        pass

    printed = json.dumps(capsys.readouterr())
    assert "api token of this folder's own" in printed
    assert "of-the-first" not in printed
    assert "of-the-second" not in printed


@pytest.mark.parametrize("odd", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe")])
async def test_a_token_that_cannot_be_read_is_told_in_words(
    replica_in: ReplicaIn, odd: Callable[[Path], object]
) -> None:
    settings = replica_in("data")
    settings.data_dir.mkdir()
    odd(token_in(settings))

    with pytest.raises(BadDocument, match="api-token cannot be read"):
        async with running(settings):
            raise AssertionError("it must not start")
