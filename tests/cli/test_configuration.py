"""A setting that is wrong ends the command with 2 and says what; one that would do nothing is told."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remediator.cli import main
from remediator.settings import load_settings, unknown_names

SETTINGS = 2


def check(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    """Reads the settings, and stops because they name no source."""
    return CliRunner().invoke(main, ["sources", "check", *arguments], env=environment)


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        pytest.param("WEBHOOKS__TOKENS", "a-token", "webhooks", id="no JSON"),
        pytest.param("WEBHOOKS__TOKENS", '{"am": "a-token"}', "webhooks.tokens.am", id="another shape"),
        pytest.param("ENGINE__LEASE_SECONDS", "inf", "engine.lease_seconds", id="for ever"),
        pytest.param("ENGINE__LEASE_SECONDS", "1e15", "engine.lease_seconds", id="a lease for ever"),
        pytest.param("ENGINE__RECHECK_SECONDS", "1e15", "engine.recheck_seconds", id="longer than time is counted"),
        pytest.param("RETENTION__EVERY_SECONDS", "1e15", "retention.every_seconds", id="never cleared up"),
        pytest.param("LAST_RESORT__GRACE_SECONDS", "1e15", "last_resort.grace_seconds", id="never paged from memory"),
        pytest.param("LAST_RESORT__TELL_AFTER_SECONDS", "1e15", "last_resort.tell_after_seconds", id="never told"),
        pytest.param("DATABASE_WAIT_SECONDS", "1e15", "database_wait_seconds", id="never given up"),
        pytest.param("DATABASE_POOL", "1000000", "database_pool", id="more connections than servers have"),
        pytest.param("BODY_LIMIT_MIB", "1000000000", "body_limit_mib", id="more than there is memory"),
        pytest.param("RETENTION__RAW_DAYS", "9999999", "retention.raw_days", id="longer than there are dates"),
    ],
)
def test_a_wrong_variable_is_told_and_its_value_is_not(variable: str, value: str, problem: str) -> None:
    result = check(environment={f"REMEDIATOR_{variable}": value})

    assert result.exit_code == SETTINGS
    assert "settings are wrong" in result.output
    assert problem in result.output
    assert "a-token" not in result.output


def test_a_settings_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(b"\xff\xfe")

    result = check("--config", str(file))

    assert result.exit_code == SETTINGS
    assert "can't decode" in result.output


def test_a_second_document_of_settings_is_refused(tmp_path: Path) -> None:
    """It was passed over without a word, and what is appended last is what somebody wants."""
    file = tmp_path / "settings.yaml"
    file.write_text("mode: act\n---\nmode: observe\n")

    result = check("--config", str(file))

    assert result.exit_code == SETTINGS
    assert f"{file}: settings are one YAML document, and here are 2" in result.output


def test_a_variable_that_names_no_setting_is_told() -> None:
    result = check(environment={"REMEDIATOR_MOED": "observe", "REMEDIATOR_XYZZY": "1"})

    assert "REMEDIATOR_MOED is no setting, and does nothing (did you mean REMEDIATOR_MODE?)\n" in result.output
    assert "Warning: REMEDIATOR_XYZZY is no setting, and does nothing\n" in result.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("moed: act", "moed: there is no such setting; did you mean 'mode'?", id="at the top"),
        pytest.param("engine: { worker: 3 }", "engine.worker: there is no such setting; did you mean", id="a section"),
        pytest.param(
            "sources: { am: { peers: [http://a], reciever: r } }",
            "sources.am.reciever: there is no such setting; did you mean 'receiver'?",
            id="of a name of one's own",
        ),
        pytest.param(
            "smtp: { hots: a, host: a, sender: b }", "smtp.hots: there is no such setting; did", id="optional"
        ),
        pytest.param("last_resort: { q: 1 }", "known here: channels, grace_seconds, tell_after_seconds", id="not near"),
    ],
)
def test_a_setting_that_there_is_not_is_told_which_was_meant(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)

    result = check("--config", str(file))

    assert result.exit_code == SETTINGS
    assert told in result.output


def test_a_name_of_ones_own_can_stand_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/settings.md has it."""
    monkeypatch.setenv("REMEDIATOR_PROMETHEUS__MAIN__URL", "http://prometheus:9090")
    monkeypatch.setenv("REMEDIATOR_SOURCES__AM__PEERS", '["http://am:9093"]')

    settings = load_settings({}, {})

    assert settings.prometheus["main"].url == "http://prometheus:9090"
    assert settings.sources["am"].peers == ["http://am:9093"]


def test_what_names_no_setting_is_found_among_what_does(tmp_path: Path) -> None:
    for name in ("api_token", "link_secret", "..data"):
        (tmp_path / name).write_text("secret")
    (tmp_path / "webhooks").mkdir()
    environment = dict.fromkeys(
        [
            "PATH",
            "REMEDIATOR_MODE",
            "REMEDIATOR_ENGINE__WORKERS",
            "REMEDIATOR_KUBERNETES_ENABLED",
            "REMEDIATOR_URL",
            "REMEDIATOR_SERVICE_HOST",
            "REMEDIATOR_SERVICE_PORT_HTTP",
            "REMEDIATOR_PORT_80_TCP_ADDR",
        ],
        "",
    )

    found = list(unknown_names(environment, tmp_path))

    assert found == ["REMEDIATOR_KUBERNETES_ENABLED", str(tmp_path / "api_token")]
