"""A wrong address, a wrong token, or somebody else who answers: a sentence with the next step, and no traceback."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remediator.cli import main

FAILURE, USAGE = 1, 2
Answering = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """`answering(b"<html>")`: the address of a server that says so, whatever it is asked."""
    servers: list[ThreadingHTTPServer] = []

    def made(body: bytes, content_type: str = "text/html", status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"REMEDIATOR_TOKEN": None, "REMEDIATOR_URL": None})


def told(result: Result) -> str:
    """One sentence; whatever was not caught would be another exception."""
    assert isinstance(result.exception, SystemExit), result.exception
    return result.output.removeprefix("Error: ").strip()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"<!doctype html><title>Hello</title>", "text/html", 200, id="a page"),
        pytest.param(b"\xff\xfe\x00", "text/html; charset=utf-8", 200, id="no UTF-8"),
        pytest.param(b'{"status": "ok"}', "application/json", 200, id="another program's JSON"),
        pytest.param(b"[" * 100_000, "application/json", 200, id="nested for ever"),
        pytest.param(b"<h1>404</h1>", "text/html", 404, id="a page that says no"),
        pytest.param(b"[]", "application/json", 500, id="a list that says no"),
    ],
)
@pytest.mark.parametrize("command", [["incidents", "list"], ["incidents", "show", "1"], ["kill-switch"]])
def test_another_server_is_told_from_a_remediator(
    answering: Answering, command: list[str], body: bytes, content_type: str, status: int
) -> None:
    url = answering(body, content_type, status)

    result = run(*command, "--url", url, "--token", "t")

    assert result.exit_code == FAILURE
    assert told(result).startswith(f"this is not a Remediator at {url}: it answered ")
    assert "--url" in result.output


def test_a_problem_is_told_in_its_own_words(answering: Answering) -> None:
    url = answering(
        b'{"title": "Not Found", "detail": "there is no\\u001b incident 9"}', "application/problem+json", 404
    )

    assert told(run("incidents", "show", "9", "--url", url, "--token", "t")) == "there is no  incident 9"


def test_a_token_is_stripped_of_what_a_copy_adds(answering: Answering) -> None:
    url = answering(b'{"incidents": []}', "application/json")

    assert run("incidents", "list", "--url", url, "--token", " t\n").exit_code == 0


@pytest.mark.parametrize("token", ["one\ntwo", "one\r\nX-Header: two", "one\x00two", "one\x1btwo"])
def test_a_token_with_a_control_character_is_refused_in_words(token: str) -> None:
    result = run("incidents", "list", "--token", token)

    assert result.exit_code == USAGE
    assert told(result).startswith("the API token holds a line break or another control character")
    assert "two" not in result.output


@pytest.mark.parametrize(("url", "right"), [("foo", "http://foo"), ("localhost:8080", "http://localhost:8080")])
def test_an_address_without_a_scheme_is_told_what_it_lacks(url: str, right: str) -> None:
    result = run("incidents", "list", "--url", url, "--token", "t")

    assert result.exit_code == USAGE
    assert told(result) == f"--url {url!r} names no scheme: write http:// or https:// before it, as in {right}"


def test_a_token_that_is_not_there_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    result = run("incidents", "list", "--data-dir", str(tmp_path))

    assert result.exit_code == USAGE
    assert told(result).endswith(f"({tmp_path / 'api-token'} is not there)")


def test_a_token_that_cannot_be_read_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "folder" / "api-token").mkdir(parents=True)
    (tmp_path / "api-token").write_bytes(b"\xff\xfe")

    assert "cannot be read: Is a directory" in told(run("incidents", "list", "--data-dir", str(tmp_path / "folder")))
    assert "cannot be read: it is no text" in told(run("incidents", "list", "--data-dir", str(tmp_path)))


@pytest.mark.parametrize("number", ["abc", "0x1", "-", "1.5", "9" * 30])
def test_what_is_no_incidents_number_is_told(number: str) -> None:
    result = run("incidents", "show", number, "--token", "t")

    assert result.exit_code == USAGE
    assert f"{number!r} is no incident's number, such as 7" in result.output


def test_a_schema_in_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    written, compared = (run("schema", option, str(tmp_path / "nope" / "x")) for option in ("--to", "--check"))
    (tmp_path / "folder").mkdir()

    assert "cannot be written: No such file or directory" in told(written)
    assert "is not current" in told(compared)
    assert "cannot be read: Is a directory" in told(run("schema", "--check", str(tmp_path / "folder")))
