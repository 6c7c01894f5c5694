"""A Kubernetes API server with its controllers, in memory and in one thread: the same answers, at once.

`tests/contract` holds it to what the real one does.
"""

from .cluster import FakeCluster
from .faults import Fault
from .requests import Recorded, Recording

__all__ = ["FakeCluster", "Fault", "Recorded", "Recording"]
