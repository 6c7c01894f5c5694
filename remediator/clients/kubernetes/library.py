"""kubernetes-asyncio without what is generated: its transport and its authentication, credential plug-ins run our way.

Imported as a whole it loads nine hundred modules of calls and models that nobody here uses: 37 MB, a second of work.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from remediator.clients.kubernetes import credential_plugin

_LEFT_EMPTY = ("kubernetes_asyncio", "kubernetes_asyncio.client", "kubernetes_asyncio.client.models")
"""Packages that import everything below them; each is there for its parts to be found in, and does not run."""


def load() -> tuple[Any, Any]:
    """(client, config), untyped. Safe to call again, and where somebody has imported the whole."""
    for name in _LEFT_EMPTY:
        if name not in sys.modules:
            sys.modules[name] = _not_run(name)
    client: Any = sys.modules["kubernetes_asyncio.client"]
    client.Configuration = import_module("kubernetes_asyncio.client.configuration").Configuration
    client.ApiClient = import_module("kubernetes_asyncio.client.api_client").ApiClient
    import_module("kubernetes_asyncio.config.exec_provider").ExecProvider.run = credential_plugin.run
    return client, import_module("kubernetes_asyncio.config")


def _not_run(package: str) -> ModuleType:
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return module_from_spec(spec)
