"""The smallest kubeconfig that names a cluster."""

from pathlib import Path

import msgspec


def kubeconfig(folder: Path, url: str, *, proxy_url: str | None = None, **user: object) -> Path:
    cluster = {"server": url} if proxy_url is None else {"server": url, "proxy-url": proxy_url}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "it",
    }
    path = folder / "kubeconfig"
    path.write_bytes(msgspec.json.encode(document))
    return path
