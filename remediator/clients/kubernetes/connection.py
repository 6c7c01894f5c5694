"""Connects to a cluster by kubeconfig or by the service account of our own pod."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from remediator.clients.kubernetes import library
from remediator.clients.kubernetes.reader import KubernetesReader
from remediator.clients.kubernetes.transport import Transport, guarded_session
from remediator.clients.kubernetes.writer import KubernetesWriter
from remediator.domain.errors import BadDocument


@dataclass(frozen=True, slots=True)
class KubernetesConnection:
    transport: Transport

    @property
    def reader(self) -> KubernetesReader:
        return KubernetesReader(self.transport)

    def writer(self) -> KubernetesWriter:
        return KubernetesWriter(self.transport)

    async def close(self) -> None:
        await self.transport.api.close()


async def connect_kubernetes(kubeconfig: Path | None, context: str | None) -> KubernetesConnection:
    """`kubeconfig` None: in-cluster. Sends nothing yet. Raises `BadDocument` where the configuration is unusable."""
    client, config = await asyncio.to_thread(library.load)
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(
                config_file=str(kubeconfig), context=context, client_configuration=configuration
            )
    except (config.ConfigException, OSError) as error:
        raise BadDocument(f"Kubernetes: {kubeconfig or 'in-cluster configuration'}: {error}") from error
    api = client.ApiClient(configuration)
    api.rest_client.pool_manager = guarded_session(api.rest_client.pool_manager)
    return KubernetesConnection(Transport(api))
