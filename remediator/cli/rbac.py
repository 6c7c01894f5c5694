"""`remediator rbac`: the least roles that the rules need, as manifests for kubectl."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from remediator.cli.check import load_or_stop
from remediator.cli.exits import Exit
from remediator.domain.plan import Permission
from remediator.language.document import Severity

if TYPE_CHECKING:
    from remediator.rules.permissions import Need

_API = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    namespace: str


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("rules"))
@click.option("--service-account", default="remediator", show_default=True, help="Whom the roles are given to.")
@click.option("--account-namespace", default="remediator", show_default=True, help="Where that service account is.")
@click.option(
    "--namespace", "namespaces", multiple=True, help="For rules whose alerts name the namespace; else a ClusterRole."
)
@click.option("--reads-only", is_flag=True, help="Without what fixes write: such a daemon can look, not rehearse.")
def command(
    folder: Path, service_account: str, account_namespace: str, namespaces: tuple[str, ...], reads_only: bool
) -> None:
    """Print the roles that the rules in FOLDER need: reading and writing apart, namespace by namespace.

    A server-side dry run is authorized like the write itself. Exits with 3 where rules have errors: a role made
    from half of the rules would be missing at night.
    """
    from remediator.rules.permissions import permissions_of

    loaded = load_or_stop(folder)
    if broken := sum(problem.severity is Severity.ERROR for problem in loaded.problems):
        click.echo(f"Error: {folder} has {broken} error(s): `remediator check {folder}` shows them", err=True)
        sys.exit(Exit.FINDINGS)
    account = _Account(service_account, account_namespace)
    manifests = list(_manifests(permissions_of(loaded.rulebook), namespaces, account, reads_only=reads_only))
    click.echo(yaml.safe_dump_all(manifests, sort_keys=False, explicit_start=True), nl=False)


def _manifests(
    needs: "Iterable[Need]", namespaces: tuple[str, ...], account: _Account, *, reads_only: bool
) -> Iterator[dict[str, Any]]:
    for namespace, permissions in _placed(needs, namespaces).items():
        yield from _role(f"{account.name}-read", namespace, _reads(permissions), account)
        if not reads_only:
            yield from _role(f"{account.name}-write", namespace, permissions - _reads(permissions), account)


def _placed(needs: "Iterable[Need]", namespaces: tuple[str, ...]) -> dict[str, set[Permission]]:
    """Namespace -> permissions; an empty namespace stands for the whole cluster."""
    from remediator.rules.permissions import ANY_NAMESPACE

    placed: defaultdict[str, set[Permission]] = defaultdict(set)
    for need in needs:
        places = (namespaces or ("",)) if need.namespace == ANY_NAMESPACE else (need.namespace,)
        for place in places:
            placed[place] |= need.permissions
    return placed


def _reads(permissions: set[Permission]) -> set[Permission]:
    return {each for each in permissions if not each.writes}


def _role(name: str, namespace: str, permissions: set[Permission], account: _Account) -> Iterator[dict[str, Any]]:
    if not permissions:
        return
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": f"{account.namespace}:{name}"}
    subject = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
    reference = {"apiGroup": _API, "kind": kind, "name": metadata["name"]}
    yield {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": metadata, "rules": _rules(permissions)}
    yield {
        "apiVersion": f"{_API}/v1",
        "kind": f"{kind}Binding",
        "metadata": dict(metadata),
        "roleRef": reference,
        "subjects": [subject],
    }


def _rules(permissions: set[Permission]) -> list[dict[str, list[str]]]:
    """One rule a resource, its verbs together: what a reviewer reads fastest."""
    verbs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for each in permissions:
        verbs[each.api_group, each.resource].add(each.verb)
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs[group, resource])}
        for group, resource in sorted(verbs)
    ]
