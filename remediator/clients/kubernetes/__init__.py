"""The one door to Kubernetes: kubernetes-asyncio carries and authenticates, msgspec reads.

`KubernetesReader` can look and rehearse; only a `KubernetesWriter` can send a plan's call as it is.
"""

from remediator.clients.kubernetes.connection import KubernetesConnection, connect_kubernetes
from remediator.clients.kubernetes.reader import KubernetesReader
from remediator.clients.kubernetes.writer import KubernetesWriter

__all__ = ["KubernetesConnection", "KubernetesReader", "KubernetesWriter", "connect_kubernetes"]
