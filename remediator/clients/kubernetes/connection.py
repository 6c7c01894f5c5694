"""Connects to a cluster by kubeconfig or by the service account of our own pod."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from remediator.clients.kubernetes import library
from remediator.clients.kubernetes.fresh_token import FreshToken
from remediator.clients.kubernetes.read_only import ReadOnly
from remediator.clients.kubernetes.reader import KubernetesReader
from remediator.clients.kubernetes.transport import Transport, guarded_session
from remediator.clients.kubernetes.writer import KubernetesWriter
from remediator.domain.errors import BadDocument


@dataclass(frozen=True, slots=True)
class KubernetesConnection:
    transport: Transport

    @property
    def reader(self) -> KubernetesReader:
        return KubernetesReader(ReadOnly(self.transport))

    def writer(self) -> KubernetesWriter:
        return KubernetesWriter(self.transport)

    async def close(self) -> None:
        await self.transport.api.close()


async def connect_kubernetes(
    kubeconfig: Path | None, context: str | None, *, monotonic: Callable[[], float] = time.monotonic
) -> KubernetesConnection:
    """`kubeconfig` None: in-cluster. Sends nothing yet. Raises `BadDocument` where the configuration is unusable."""
    client, config = await asyncio.to_thread(library.load)
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            load = partial(config.load_kube_config, config_file=str(kubeconfig))
            loader = await load(context=context, client_configuration=configuration)
            # By its name: somebody may make another context the current one, and its token is for another cluster.
            again = partial(load, context=loader.current_context["name"])
            read = partial(_api_keys, again, client.Configuration)
            configuration.refresh_api_key_hook = FreshToken(read, monotonic=monotonic)
    except (config.ConfigException, BadDocument, OSError) as error:
        raise BadDocument(f"Kubernetes: {kubeconfig or 'in-cluster configuration'}: {error}") from error
    api = client.ApiClient(configuration)
    api.rest_client.pool_manager = guarded_session(api.rest_client.pool_manager)
    return KubernetesConnection(Transport(api))


async def _api_keys(load: Callable[..., Awaitable[object]], configuration: Callable[[], Any]) -> Mapping[str, str]:
    fresh = configuration()
    await load(client_configuration=fresh)
    keys: Mapping[str, str] = fresh.api_key
    return keys
