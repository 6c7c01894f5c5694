"""Runs a kubeconfig's exec credential plug-in: in bounded time, asking nobody, with nothing of it left behind.

kubernetes-asyncio waits for ever for one that hangs, lets it read from our terminal, and goes on where it gave nothing.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from remediator.domain.errors import BadDocument

SECONDS = 5.0


class _Status(msgspec.Struct, frozen=True):
    token: str = ""
    certificate: str = msgspec.field(default="", name="clientCertificateData")


class _Credential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    status: _Status


async def run(provider: Any) -> Mapping[str, str]:
    """Stands in for `ExecProvider.run` and gives what its caller reads. Raises `BadDocument`, and `OSError` where the
    command cannot be run."""
    asked = {"apiVersion": provider.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**provider.env, "KUBERNETES_EXEC_INFO": msgspec.json.encode(asked).decode()}
    # In a thread: a loop waits for the end of what a child wrote, and whatever it left running can hold that back.
    answer = await asyncio.to_thread(ask, provider.args, environment)
    return {"token": _token(answer, provider)}


def ask(command: Sequence[str], environment: Mapping[str, str], *, seconds: float = SECONDS) -> bytes:
    """What it wrote. Raises `BadDocument` where it failed or took too long; it and what it started are then killed."""
    name = command[0]
    with subprocess.Popen(  # noqa: S603  # an argv that the kubeconfig names
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        try:
            answer, complaint = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            raise BadDocument(
                f"the credential plug-in {name} gave nothing within {seconds:g} s and was killed: "
                "run it by hand to see what it waits for; it can ask nobody here"
            ) from error
    if child.returncode != 0:
        told = complaint[:300].decode("utf-8", "replace").strip()
        raise BadDocument(f"the credential plug-in {name} ended with {child.returncode}: {told or 'it said nothing'}")
    return answer


def _token(answer: bytes, provider: Any) -> str:
    name = provider.args[0]
    try:
        credential = msgspec.json.decode(answer, type=_Credential)
    except msgspec.DecodeError as error:
        raise BadDocument(f"the credential plug-in {name} gave no ExecCredential: {error}") from error
    if credential.api_version != provider.api_version:
        raise BadDocument(
            f"the credential plug-in {name} answers as {credential.api_version}, "
            f"and the kubeconfig wants {provider.api_version}"
        )
    if not credential.status.token:
        given = "a client certificate" if credential.status.certificate else "no token"
        raise BadDocument(
            f"the credential plug-in {name} gave {given}: only tokens are renewed while Remediator runs, "
            "so use a plug-in that gives one, a tokenFile, or our pod's service account"
        )
    return credential.status.token
