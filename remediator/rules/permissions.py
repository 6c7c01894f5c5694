"""The Kubernetes permissions that a rulebook needs, namespace by namespace, as its plug-ins declare them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from remediator.domain.plan import Permission
from remediator.domain.target import NAMESPACED, Target
from remediator.language.expression import EvaluationError
from remediator.language.matcher import MatchOp
from remediator.rules.rule import Rule, TargetTemplate
from remediator.rules.rulebook import Rulebook

ANY_NAMESPACE = "*"
"""The alert names the namespace and no matcher pins it: only a person can say which ones are meant."""

CLUSTER = ""
"""What lies in no namespace: nodes."""


@dataclass(frozen=True, slots=True)
class Need:
    namespace: str
    """A name, `ANY_NAMESPACE` or `CLUSTER`."""
    permissions: frozenset[Permission]


def permissions_of(rulebook: Rulebook) -> tuple[Need, ...]:
    """In the order of the namespaces' names; nothing for rules that touch no Kubernetes."""
    needed: defaultdict[str, set[Permission]] = defaultdict(set)
    for rule in rulebook.rules:
        if rule.target is None:
            continue
        for namespace in _namespaces(rule, rule.target):
            needed[namespace].update(_permissions(rule, Target(rule.target.kind, "any", namespace)))
    return tuple(Need(namespace, frozenset(needed[namespace])) for namespace in sorted(needed) if needed[namespace])


def _namespaces(rule: Rule, target: TargetTemplate) -> set[str]:
    """One for each line of `match`: what the line pins by `=` is all that is known of the alert before it comes."""
    if target.kind not in NAMESPACED:
        return {CLUSTER}
    pinned = ({each.name: each.value for each in line if each.op is MatchOp.EQUAL} for line in rule.matchers)
    return {_namespace(target, labels) for labels in pinned} or {ANY_NAMESPACE}


def _namespace(target: TargetTemplate, labels: Mapping[str, str]) -> str:
    try:
        return str(target.namespace.render({"alert.labels": labels})) or ANY_NAMESPACE
    except EvaluationError:
        return ANY_NAMESPACE


def _permissions(rule: Rule, target: Target) -> Iterator[Permission]:
    """Without the parameters, which wait for an incident: what a plug-in needs hangs on its target's kind alone."""
    for look in rule.diagnose.values():
        yield from look.plugin.model_construct().permissions(target)
    for fix in rule.fix:
        yield from fix.plugin.model_construct().permissions(target)
    for check in rule.verify.checks:
        yield from check.plugin.model_construct().permissions(target)
