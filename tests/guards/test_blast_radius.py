"""However many rules and replicas act at once, only so much is disturbed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from remediator.domain.budget import Budget
from remediator.domain.plan import Unit
from remediator.domain.target import Target
from remediator.domain.verdict import Allow, Deny, Hold, Verdict
from remediator.guards.blast_radius import BlastRadius
from tests.guards.proposals import ledger, propose

FIFTH = BlastRadius.model_validate({"share": 0.2, "within": "10m"})
THREE = BlastRadius.model_validate({"at_most": 3, "within": "10m"})
HALF_READY = BlastRadius.model_validate({"at_most": 3, "within": "10m", "ready_at_least": 0.5})


@pytest.mark.parametrize(
    ("guard", "units", "health", "verdict"),
    [
        pytest.param(FIFTH, 2, (10, 10), Allow, id="two of ten"),
        pytest.param(FIFTH, 3, (10, 10), Deny, id="three of ten"),
        pytest.param(FIFTH, 1, (3, 3), Allow, id="one is always within the share"),
        pytest.param(FIFTH, 1, None, Deny, id="a share of an unknown number"),
        pytest.param(THREE, 3, None, Allow, id="a plain number needs no health"),
        pytest.param(THREE, 4, None, Deny, id="more than the number will never fit"),
        pytest.param(HALF_READY, 1, (2, 4), Allow, id="half are ready"),
        pytest.param(HALF_READY, 1, (1, 4), Deny, id="too few are ready"),
        pytest.param(HALF_READY, 1, None, Deny, id="who knows how many are ready"),
        pytest.param(HALF_READY, 0, (0, 4), Allow, id="nothing is disturbed"),
    ],
)
def test_what_may_be_disturbed(
    guard: BlastRadius, units: int, health: tuple[int, int] | None, verdict: type[Verdict]
) -> None:
    assert isinstance(guard.judge(propose(units=units), ledger(health=health)), verdict)


def test_what_other_rules_disturbed_counts_too() -> None:
    (budget,) = THREE.budgets(propose(units=2, rule="another-rule"))

    verdict = THREE.judge(propose(units=2), ledger((budget, timedelta(minutes=4))))

    assert isinstance(verdict, Hold)
    assert verdict.wait == timedelta(minutes=6)


@pytest.mark.parametrize(
    ("per", "other", "shared"),
    [
        ("workload", Target("deployment", "web", "prod"), False),
        ("namespace", Target("deployment", "web", "prod"), True),
        ("namespace", Target("deployment", "backend", "test"), False),
        ("cluster", Target("deployment", "backend", "test"), True),
    ],
)
def test_what_a_bound_is_for(per: str, other: Target, shared: bool) -> None:
    guard = BlastRadius.model_validate({"at_most": 3, "within": "10m", "per": per})

    assert (guard.budgets(propose())[0].key == guard.budgets(propose(target=other))[0].key) is shared


def test_a_bound_for_one_kind_lets_others_pass_uncounted() -> None:
    nodes = BlastRadius.model_validate({"kind": "node", "at_most": 1, "within": "1h", "per": "cluster"})

    assert nodes.budgets(propose()) == ()
    assert nodes.judge(propose(), ledger()) == Allow("nothing of this kind is disturbed")


def test_pods_and_keys_are_counted_each_for_themselves() -> None:
    pods, keys = (BlastRadius.model_validate({"of": unit, "at_most": 3, "within": "1h"}) for unit in ("pods", "keys"))
    pod, key = propose(), propose(units=4, unit=Unit.KEYS)

    assert isinstance(pods.judge(key, ledger()), Allow)
    assert isinstance(keys.judge(key, ledger()), Deny)
    assert keys.budgets(pod) == pods.budgets(key) == ()
    assert keys.budgets(key)[0].key != pods.budgets(pod)[0].key == THREE.budgets(pod)[0].key


def test_a_bound_that_does_not_say_of_what_is_one_for_keys_too() -> None:
    assert isinstance(THREE.judge(propose(units=4, unit=Unit.KEYS), ledger()), Deny)


def test_a_flush_under_a_bound_that_does_not_say_of_what_is_no_pod_to_the_others() -> None:
    """Eight thousand keys, booked as pods, held every pod fix of the namespace."""
    either, pods, keys = (
        BlastRadius.model_validate({"per": "namespace", "within": "10m", "at_most": 20_000, **of})
        for of in ({}, {"of": "pods", "at_most": 3}, {"of": "keys"})
    )
    allowed = either.judge(propose(units=8_192, unit=Unit.KEYS), ledger())
    assert isinstance(allowed, Allow)
    spent = [(budget, timedelta(minutes=1)) for budget in allowed.budgets]

    assert isinstance(pods.judge(propose(), ledger(*spent)), Allow)
    assert isinstance(keys.judge(propose(units=15_000, unit=Unit.KEYS), ledger(*spent)), Hold)


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("spent_by", [{}, {"of": "pods"}, {"of": "keys"}], ids=["either", "pods", "keys"])
def test_a_bound_that_does_not_say_of_what_counts_pods_and_keys(unit: Unit, spent_by: dict[str, str]) -> None:
    spender = BlastRadius.model_validate({"at_most": 3, "within": "10m", **spent_by})
    spent = [(budget, timedelta(minutes=1)) for each in Unit for budget in spender.budgets(propose(units=3, unit=each))]

    assert isinstance(THREE.judge(propose(unit=unit), ledger(*spent)), Hold)


def test_what_the_release_before_booked_without_telling_keys_apart_still_counts() -> None:
    old = Budget("blast_radius/deployment/prod/backend", 3, timedelta(minutes=10), units=3)
    pods = BlastRadius.model_validate({"of": "pods", "at_most": 3, "within": "10m"})

    for guard, unit in ((THREE, Unit.PODS), (THREE, Unit.KEYS), (pods, Unit.PODS)):
        assert isinstance(guard.judge(propose(unit=unit), ledger((old, timedelta(minutes=1)))), Hold)


@pytest.mark.parametrize(
    "written",
    [
        {"within": "1h"},
        {"within": "1h", "share": 0.2, "per": "cluster"},
        {"within": "1h", "share": 0.2, "of": "keys"},
    ],
)
def test_a_radius_without_a_bound_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="at_most"):
        BlastRadius.model_validate(written)


@given(desired=st.integers(1, 200), share=st.floats(0.01, 1), units=st.lists(st.integers(1, 20), max_size=20))
def test_no_series_of_fixes_disturbs_more_than_the_share(desired: int, share: float, units: list[int]) -> None:
    guard = BlastRadius(share=share, within=timedelta(minutes=10))
    spent = []
    for count in units:
        verdict = guard.judge(propose(units=count), ledger(*spent, health=(desired, desired)))
        if isinstance(verdict, Allow):
            spent += [(budget, timedelta(minutes=1)) for budget in verdict.budgets]

    assert sum(budget.units for budget, _ in spent) <= max(1, int(share * desired))


def test_a_bound_on_pods_as_targets_is_refused() -> None:
    """A fix of one counts as its controller's: it would bound nothing."""
    with pytest.raises(ValidationError, match="a pod is counted as its controller's"):
        BlastRadius.model_validate({"at_most": 3, "within": "10m", "kind": "pod"})


def test_a_kind_that_is_misspelt_is_refused() -> None:
    """It would bound nothing."""
    with pytest.raises(ValidationError, match="'Deployment' is no kind of target; known: deployment"):
        BlastRadius.model_validate({"at_most": 3, "within": "10m", "kind": "Deployment"})
