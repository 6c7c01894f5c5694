"""An alert as Alertmanager's webhook tells it."""

import json
from pathlib import Path


def write_alert(folder: Path, **labels: str) -> Path:
    known = {"alertname": "ServiceDown", "deployment": "backend", "namespace": "prod"}
    path = folder / "alert.json"
    path.write_text(json.dumps({"version": "4", "alerts": [{"status": "firing", "labels": known | labels}]}))
    return path
