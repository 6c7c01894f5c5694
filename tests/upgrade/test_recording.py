"""How the next release's statements are recorded: its code on a watched database, its answers beside them."""

from datetime import timedelta
from pathlib import Path

from remediator.store import incidents
from remediator.store.database import Database
from remediator.store.migrate import migrate
from tests.fakes.watched import watched_database
from tests.store.facts import alert, file
from tests.upgrade.recording import Recorder, load, save, say


async def test_what_this_release_says_can_be_recorded_and_said_again(
    database_address: str, empty_database_address: str, tmp_path: Path
) -> None:
    recorder = Recorder()
    async with watched_database(database_address, recorder.watch) as database:
        await file(database, alert())
        async with database.transaction() as tx:
            await incidents.claim(tx, owner="recorded", lease=timedelta(minutes=1), limit=8)
    save(recorder.statements, tmp_path / "statements.jsonl")
    recorded = load(tmp_path / "statements.jsonl")  # one that files, one that claims

    await migrate(empty_database_address)
    async with Database.open(empty_database_address, pool=1) as another, another.connection() as connection:
        answers = [await say(connection, statement) for statement in recorded]

    assert len(recorded) == 2
    assert answers == [statement.answer for statement in recorded]
