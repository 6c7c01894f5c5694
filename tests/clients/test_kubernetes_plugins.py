"""A kubeconfig's credential plug-in has a few seconds, can ask nobody, must give a token, and leaves nothing behind."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from remediator.clients.kubernetes import connect_kubernetes
from remediator.clients.kubernetes.credential_plugin import SECONDS, ask
from remediator.domain.errors import BadDocument
from tests.clients.kubeconfigs import kubeconfig

VERSION = "client.authentication.k8s.io/v1"
CERTIFICATE = {"clientCertificateData": "-----BEGIN CERTIFICATE-----", "clientKeyData": "-----BEGIN PRIVATE KEY-----"}
HANGING = 'exec 3>"$0"; echo begun >&3; sleep 600 | cat'
"""Hangs in what it started. All of it holds the pipe it is given open."""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    return pipe


def credential(status: dict[str, str], *, version: str = VERSION) -> str:
    return msgspec.json.encode({"apiVersion": version, "kind": "ExecCredential", "status": status}).decode()


def shell(script: str, *args: str, folder: Path) -> Path:
    plugin = {"apiVersion": VERSION, "command": "sh", "args": ["-c", script, *args]}
    return kubeconfig(folder, "http://cluster.invalid", exec=plugin)


def test_a_plug_in_that_hangs_is_killed_with_what_it_started(pipe: Path) -> None:
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    with pytest.raises(BadDocument, match=r"gave nothing within 0\.5 s and was killed: run it by hand"):
        ask(["sh", "-c", HANGING, str(pipe)], os.environ, seconds=0.5)

    os.set_blocking(reading, True)
    with os.fdopen(reading) as held:
        assert held.read() == "begun\n", "and then its end: nobody holds it any more"


def test_what_a_plug_in_leaves_running_keeps_nobody_waiting(pipe: Path) -> None:
    """A helper that has gone its own way still holds the end of what we read from."""
    with pytest.raises(BadDocument, match="gave nothing within"):
        ask(["sh", "-c", 'setsid sh -c "cat <$0" &', str(pipe)], os.environ, seconds=0.5)

    os.close(os.open(pipe, os.O_RDWR))  # lets it end


@pytest.mark.slow
async def test_a_start_does_not_wait_for_ever_for_a_plug_in(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=re.escape(f"gave nothing within {SECONDS:g} s")):
        await connect_kubernetes(shell("sleep 600", folder=tmp_path), None)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param("echo no such profile >&2; exit 3", "ended with 3: no such profile", id="fails"),
        pytest.param("exit 3", "ended with 3: it said nothing", id="fails without a word"),
        pytest.param("read answer || { echo asked >&2; exit 1; }", "ended with 1: asked", id="asks"),
        pytest.param("echo token", "gave no ExecCredential", id="gives something else"),
        pytest.param(f"echo '{credential({}, version='v0')}'", f"the kubeconfig wants {VERSION}", id="other version"),
        pytest.param(f"echo '{credential({})}'", "gave no token", id="gives no token"),
        pytest.param(f"echo '{credential(CERTIFICATE)}'", "gave a client certificate: only tokens", id="certificate"),
    ],
)
async def test_a_start_says_what_is_wrong_with_a_plug_in(tmp_path: Path, script: str, complaint: str) -> None:
    with pytest.raises(BadDocument, match=f"kubeconfig: the credential plug-in sh .*{complaint}"):
        await connect_kubernetes(shell(script, folder=tmp_path), None)


async def test_a_plug_in_that_is_not_there_is_named(tmp_path: Path) -> None:
    plugin = {"apiVersion": VERSION, "command": "no-such-plugin"}

    with pytest.raises(BadDocument, match="no-such-plugin"):
        await connect_kubernetes(kubeconfig(tmp_path, "http://cluster.invalid", exec=plugin), None)
