"""Which alerts come to us, and which routes take some of them, or all, away: from us, or from everybody else.

An alert goes down the tree to the first child that it matches, and on to the next ones only where that one says
`continue`; a route is told of what none of its children matches.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from remediator.language.document import Document, Path, Problem, Severity
from remediator.senders.matching import Asked, follows, is_impossible, spelled, takes_all
from remediator.senders.routes import Route, spelled_path

_BY_GRAFANA_ITSELF = "__grafana_"
"""Grafana has a tree of its own for rules that name their contact point: nobody wrote it, and nobody can change it."""


@dataclass(frozen=True, slots=True)
class _Taker:
    """A route that comes before ours and keeps what it takes."""

    route: Route
    asked: Asked
    """Of an alert, to come to it and be taken."""


def reach_problems(document: Document, root: Route, ours: Collection[str]) -> Iterator[Problem]:
    """`ours`: the receivers that post to us."""
    told: set[Path] = set()
    tree = _Tree(document, root, frozenset(ours), _nobodys(document), told)
    for path, problem in tree.problems_below(root, above=(), before=()):
        if path not in told:  # what is before many routes of ours is one problem
            told.add(path)
            yield problem


@dataclass(frozen=True, slots=True)
class _Tree:
    document: Document
    root: Route
    ours: frozenset[str]
    nobodys: frozenset[str]
    told: Collection[Path]
    """Need not be looked at again: every route of ours would be held against every one before it."""

    def problems_below(
        self, route: Route, *, above: Asked, before: tuple[_Taker, ...]
    ) -> Iterator[tuple[Path, Problem]]:
        """With what each is about."""
        asked = above + route.asked
        if route.receiver in self.ours:
            yield from self._problems_of(route, above=above, before=before)
        for number, child in enumerate(route.children):
            if child.receiver in self.ours:
                yield from self._starved_by(child, route.children[number + 1 :], before=before)
            yield from self.problems_below(child, above=asked, before=before)
            if not child.goes_on:
                before = (*before, _Taker(child, asked + child.asked))

    def _problems_of(self, route: Route, *, above: Asked, before: tuple[_Taker, ...]) -> Iterator[tuple[Path, Problem]]:
        asked = above + route.asked
        if is_impossible(asked):
            yield route.path, self._excluded(route, above)
        elif self._is_told(self.root, asked):
            yield from self._narrowed(route, above)
            yield from self._losses_before(route, asked, before)
            yield from self._losses_below(route, asked)
        else:
            yield from self._never_told(route, asked, before)

    def _never_told(self, route: Route, asked: Asked, before: tuple[_Taker, ...]) -> Iterator[tuple[Path, Problem]]:
        shadow = next((taker.route for taker in before if follows(taker.asked, asked)), None)
        overtaker = next((child for child in route.children if follows(child.asked, asked)), None)
        if shadow is not None:
            yield route.path, self._shadowed(route, shadow)
        elif overtaker is not None and not self._leads_to_us(overtaker):
            yield route.path, self._overtaken(route, overtaker)

    def _excluded(self, route: Route, above: Asked) -> Problem:
        parents = f", and the routes above it let only {spelled(above)} through" if above else ""
        return self.document.problem(
            route.asked_at,
            f"{spelled_path(route.path)} is never reached: no alert is {spelled(above + route.asked)}: it wants "
            f"{spelled(route.asked)}{parents}",
            hint="move it out of that subtree, or mend the matchers",
        )

    def _shadowed(self, route: Route, shadow: Route) -> Problem:
        which = "every alert" if takes_all(shadow.asked) else f"every alert of it, {spelled(shadow.asked)},"
        return self.document.problem(
            route.path,
            f"{spelled_path(route.path)} is never reached: {spelled_path(shadow.path)} matches {which} before it",
            hint="put it first, or give the other one `continue: true`",
        )

    def _overtaken(self, route: Route, child: Route) -> Problem:
        return self.document.problem(
            route.path,
            f"{spelled_path(route.path)} is never told: {spelled_path(child.path)} below it matches every alert, and "
            "`continue` leads to its siblings only",
            hint="a child of its own for the receiver, before that one, with `continue: true`",
        )

    def _narrowed(self, route: Route, above: Asked) -> Iterator[tuple[Path, Problem]]:
        """Said, and not complained of: a subtree of one's own is a sound thing to have."""
        if takes_all(above) or _is_by_grafana_itself(above) or self._is_open(self.root) or self._is_inside_ours(route):
            return
        yield (
            ("below", spelled(above)),
            self.document.problem(
                route.path,
                f"only alerts that are {spelled(above)} come as far as {spelled_path(route.path)}: so the routes above "
                "it want; it is told of no others, and polls take no others for ours",
                hint=f"if {route.receiver!r} should have them all: a first child of the root, with `continue: true`",
                severity=Severity.NOTE,
            ),
        )

    def _losses_before(self, route: Route, asked: Asked, before: tuple[_Taker, ...]) -> Iterator[tuple[Path, Problem]]:
        for taker in before:
            if taker.route.path not in self.told and self._takes_from_us(taker.route, asked + taker.asked):
                yield (
                    taker.route.path,
                    self.document.problem(
                        taker.route.asked_at,
                        f"{spelled_path(taker.route.path)} takes alerts that are {spelled(taker.route.asked)} before "
                        f"{spelled_path(route.path)}, and leads elsewhere: they never reach {route.receiver!r}, "
                        "neither by webhook nor by poll",
                        hint=f"if they should: put {spelled_path(route.path)} before it, with `continue: true`",
                        severity=Severity.WARNING,
                    ),
                )

    def _losses_below(self, route: Route, asked: Asked) -> Iterator[tuple[Path, Problem]]:
        for child in route.children:
            if self._takes_from_us(child, asked + child.asked):
                yield (
                    child.path,
                    self.document.problem(
                        child.asked_at,
                        f"{spelled_path(child.path)} takes alerts that are {spelled(child.asked)} from "
                        f"{spelled_path(route.path)}, and leads elsewhere: a route is told of what none of its "
                        f"children matches; they never reach {route.receiver!r}, neither by webhook nor by poll",
                        hint=f"if they should: a first child for {route.receiver!r}, with `continue: true`",
                        severity=Severity.WARNING,
                    ),
                )

    def _takes_from_us(self, taker: Route, asked: Asked) -> bool:
        return not (
            is_impossible(asked)
            or _is_by_grafana_itself(taker.asked)
            or self._leads_to_us(taker)
            or all(route.receiver in self.nobodys for route in taker.all_below())
            or self._is_told(self.root, asked)
        )

    def _starved_by(
        self, route: Route, later: tuple[Route, ...], *, before: tuple[_Taker, ...]
    ) -> Iterator[tuple[Path, Problem]]:
        """Everybody else, by a route of ours."""
        starved = [
            sibling
            for sibling in later
            if any(each.receiver not in self.ours | self.nobodys for each in sibling.all_below())
        ]
        if route.goes_on or not takes_all(route.asked) or not starved or any(takes_all(t.asked) for t in before):
            return
        which = ", ".join(f"{spelled_path(each.path)} ({each.receiver!r})" for each in starved[:3])
        more = f" and {len(starved) - 3} more" if len(starved) > 3 else ""
        yield (
            (*route.path, "continue"),
            self.document.problem(
                route.path,
                f"{spelled_path(route.path)} takes every alert and keeps it: whoever is below it is never told "
                f"anything: {which}{more}",
                hint="continue: true",
            ),
        )

    def _leads_to_us(self, route: Route) -> bool:
        return any(each.receiver in self.ours for each in route.all_below())

    def _is_open(self, route: Route) -> bool:
        """Does one of ours, here or below, ask nothing of an alert?"""
        return takes_all(route.asked) and (route.receiver in self.ours or any(map(self._is_open, route.children)))

    def _is_inside_ours(self, route: Route) -> bool:
        above = (each for each in self.root.all_below() if each.path == route.path[: len(each.path)])
        return any(each.receiver in self.ours for each in above if each.path != route.path)

    def _is_told(self, route: Route, known: Asked) -> bool:
        """Is an alert that comes to `route`, and of which no more than `known` is so, told to us at or below it?"""
        has_matched = False
        for child in route.children:
            if follows(child.asked, known):
                if self._is_told(child, known):
                    return True
                if not child.goes_on:
                    return False
                has_matched = True
        return route.receiver in self.ours and not has_matched


def _is_by_grafana_itself(asked: Asked) -> bool:
    return any(str(each).startswith(_BY_GRAFANA_ITSELF) for each in asked)


def _nobodys(document: Document) -> frozenset[str]:
    """Receivers without a configuration: whoever leads there wants nobody to be told."""
    receivers = document.data.get("receivers")
    return frozenset(
        str(each.get("name"))
        for each in (receivers if isinstance(receivers, list) else ())
        if isinstance(each, Mapping) and not any(each[key] for key in each if str(key).endswith("_configs"))
    )
