"""The settings of one seed's daemons, as a deployment would give them."""

import json
from pathlib import Path

from tests.faults import crowd
from tests.faults.rules import REVIEWS
from tests.faults.scenario import LEASE_SECONDS, Scenario
from tests.system.daemon import API_TOKEN, TOKEN


def environment_of(scenario: Scenario, folder: Path, *, dsn: str, rules: Path, kubeconfig: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "REMEDIATOR_MODE": scenario.mode,
        "REMEDIATOR_REVIEW_CHANNEL": REVIEWS,
        "REMEDIATOR_DATA_DIR": str(folder / "data"),
        "REMEDIATOR_DATABASE_POOL": "5",
        "REMEDIATOR_RULES_DIR": str(rules),
        "REMEDIATOR_WEBHOOKS__TOKENS": json.dumps({"alertmanager": [TOKEN], crowd.SOURCE: [crowd.TOKEN]}),
        "REMEDIATOR_API_TOKENS": json.dumps({"tests": {"token": API_TOKEN, "roles": ["read", "respond", "approve"]}}),
        "REMEDIATOR_SECRETS": '{"sink": "signing"}',
        "REMEDIATOR_LINK_SECRET": "links",
        "REMEDIATOR_KUBERNETES__ENABLED": "true",
        "REMEDIATOR_KUBERNETES__KUBECONFIG": str(kubeconfig),
        "REMEDIATOR_ENGINE__LEASE_SECONDS": str(LEASE_SECONDS) if scenario.waits_for_leases else "30",
        "REMEDIATOR_ENGINE__POLL_SECONDS": "0.2",
        "REMEDIATOR_ENGINE__RECHECK_SECONDS": "0.1",
        "REMEDIATOR_DATABASE_STATEMENT_CACHE": "0" if scenario.storm and scenario.storm.prepares_anew else "100",
        "REMEDIATOR_LOG_LEVEL": "warning",
    }


def polling_of(url: str) -> dict[str, str]:
    """Where both peers, which answer behind `url`, are asked."""
    peers = [f"{url}/{peer}" for peer in (0, 1)]
    return {"REMEDIATOR_SOURCES": json.dumps({"alertmanager": {"peers": peers, "every_seconds": 5}})}
