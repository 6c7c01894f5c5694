"""What is wrong with the way alerts are sent to us. Each problem says what, why, and what to do about it.

Errors lose alerts or resolves, have them refused, or eat a part of the response time that hurts; warnings are what
may well be meant; notes complain of nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from remediator.language.document import Document, Problem
from remediator.senders.contact_points import TIMESTAMP_HEADER, contact_point_problems, untold
from remediator.senders.reach import reach_problems
from remediator.senders.receivers import Receiver, ours_among, receivers_of
from remediator.senders.routes import Route, tree_of
from remediator.senders.timing import timing_problems, unpolled_problems
from remediator.senders.webhooks import webhook_problems


def lint_alertmanager(
    document: Document, receiver: str, *, is_polled: bool, also_polled: Collection[str] = ()
) -> tuple[Problem, ...]:
    """Of `alertmanager.yml`, or of what a running Alertmanager says it was given; secrets may be blanked. `is_polled`:
    our settings name its peers, for this receiver. `also_polled`: for which others they do."""
    receivers = list(receivers_of(document))
    ours = ours_among(receivers, receiver)
    if not ours or ours[0].name != receiver:
        return (_no_receiver(document, receiver, receivers),)
    if not ours[0].webhooks:
        return (
            document.problem(ours[0].path, f"the receiver {receiver!r} has no webhook", hint="add webhook_configs"),
        )
    hooks = [hook for each in ours for hook in each.our_webhooks]
    problems = [problem for hook in hooks for problem in webhook_problems(document, hook)]
    polled = {*also_polled, *([receiver] if is_polled else [])}
    unpolled = [
        problem
        for each in ours
        if each.name not in polled
        for problem in unpolled_problems(document, _leading_to([each], tree_of(document)), each.name)
    ]
    return _in_order([*problems, *_route_problems(document, ours), *unpolled])


def lint_grafana(
    document: Document, receiver: str, *, timestamp_headers: Collection[str] = (TIMESTAMP_HEADER,)
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Of what Grafana's alertmanager API tells of its configuration. The second part is what that does not say.
    `timestamp_headers`: where our settings look for the timestamp of a signature; none: they do not say."""
    if not isinstance(document.data.get("route"), Mapping):
        return (), ("everything: this login is not told the configuration (it takes the role Admin)",)
    receivers = list(receivers_of(document))
    ours = ours_among(receivers, receiver)
    if not ours or ours[0].name != receiver:
        return (_no_receiver(document, receiver, receivers),), ()
    problems = [problem for each in ours for problem in contact_point_problems(document, each, timestamp_headers)]
    return _in_order([*problems, *_route_problems(document, ours)]), (untold(ours),)


def receiver_by_address(document: Document) -> str | None:
    """The name of the receiver whose webhook leads to a path of ours, where addresses are not blanked."""
    return _by_address(receivers_of(document))


def _by_address(receivers: Iterable[Receiver]) -> str | None:
    return next((each.name for each in receivers if any(hook.is_ours for hook in each.webhooks)), None)


def _route_problems(document: Document, ours: Sequence[Receiver]) -> Iterator[Problem]:
    root, named = tree_of(document), ours[0]
    if not _leading_to([named], root):
        yield document.problem(
            ("route",), f"no route leads to the receiver {named.name!r}: it is never told anything", hint="add one"
        )
    if root is not None:
        yield from reach_problems(document, root, [each.name for each in ours])
    yield from timing_problems(document, _leading_to(ours, root))


def _leading_to(receivers: Sequence[Receiver], root: Route | None) -> Sequence[Route]:
    names = {each.name for each in receivers}
    return [route for route in root.all_below() if route.receiver in names] if root is not None else []


def _no_receiver(document: Document, receiver: str, receivers: Sequence[Receiver]) -> Problem:
    names = ", ".join(repr(each.name) for each in receivers) or "none"
    by_address = _by_address(receivers)
    hint = (
        f"{by_address!r} posts to us: name it in the settings (sources, receiver)" if by_address else f"known: {names}"
    )
    return document.problem(("receivers",), f"there is no receiver {receiver!r}", hint=hint)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda each: (each.line, each.column)))
