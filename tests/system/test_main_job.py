"""The main job, end to end: a webhook in, and out come a fixed cluster, a page, or a plan that nobody carried out."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from pydantic import SecretStr

from tests.fakes.kubernetes import FakeCluster, Fault
from tests.system.conftest import SettingsOf
from tests.system.daemon import running, told
from tests.system.rules import rule_with

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}


async def test_a_failing_pod_is_replaced_and_the_fix_is_proven(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    [broken] = fake_cluster.break_until_restarted("prod", "backend", pods=1)
    settings = settings_of()

    async with running(settings) as (_, client):
        assert await client.alert(**ALERT) == 202
        incident = await client.until(1, lambda seen: seen["status"] == "resolved")

    assert incident["resolution"].startswith("fixed: delete pod")
    assert broken not in {pod["metadata"]["name"] for pod in fake_cluster.pods("prod", "backend")}
    assert [(write.method, write.path.rpartition("/")[2]) for write in fake_cluster.requests.writes] == [
        ("POST", "eviction")
    ]


async def test_a_fix_that_does_not_work_pages_the_person_on_call_and_says_so(
    settings_of: SettingsOf, fake_cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_pods("prod", "backend", reason=Fault.CRASHING)
    settings = settings_of()

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(
            1, lambda seen: any("sent to alice" in line for line in told(seen)) and seen["phase"] == "handed_over"
        )
        status, acknowledged = await client.post("/api/v1/incidents/1/acknowledge", {})
        await client.resolve(**ALERT)
        resolved = await client.until(1, lambda seen: seen["status"] == "resolved")

    assert incident["status"] == "triggered"
    assert any("not healthy within 2s" in line for line in told(incident))
    [automation] = [line for line in capsys.readouterr().out.splitlines() if "automation:" in line]
    assert "not healthy within 2s: NOT ok" in automation, "in the words of the proof, or already of the handing over"
    assert (status, acknowledged["acknowledged_by"]) == (200, "tests")
    assert resolved["resolution"] == "the alert resolved"


async def test_observe_mode_says_what_it_would_do_and_does_nothing(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    settings = settings_of("observe")

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: seen["phase"] == "handed_over")
        await client.until(1, lambda seen: any("would page alice" in line for line in told(seen)))

    assert any("would have done: delete pod" in line for line in told(incident))
    assert fake_cluster.requests.writes == []


async def test_suggest_mode_waits_for_a_person_who_approves_this_very_plan(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    settings = settings_of("suggest")

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        proposed = await client.until(1, lambda seen: seen["phase"] == "proposed")
        wrong, _ = await client.post("/api/v1/incidents/1/approve", {"plan": "0" * 16})
        written_before = list(fake_cluster.requests.writes)
        right, _ = await client.post("/api/v1/incidents/1/approve", {"plan": proposed["plan"]["digest"]})
        await client.until(1, lambda seen: seen["status"] == "resolved")

    assert (wrong, right) == (409, 200)
    assert written_before == []
    assert len(fake_cluster.requests.writes) == 1


async def test_a_fix_is_for_the_alert_that_fires_and_not_for_the_one_that_opened_the_incident(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    """Both are of one workload, and so of one incident: the first one's pod is well again, the other's is not."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    well, broken = fake_cluster.break_until_restarted("prod", "backend", pods=2)
    rule = rule_with("{ use: delete_pod, pods: '${{ [alert.labels.pod] }}' }")

    async with running(settings_of("suggest", **{"service-down": rule})) as (_, client):
        await client.alert(**ALERT, pod=well)
        proposed = await client.until(1, lambda seen: seen["phase"] == "proposed")
        await client.alert(**ALERT, pod=broken)
        await client.resolve(**ALERT, pod=well)
        for_the_other = await client.until(
            1, lambda seen: seen["phase"] == "proposed" and seen["plan"]["digest"] != proposed["plan"]["digest"]
        )
        too_late, _ = await client.post("/api/v1/incidents/1/approve", {"plan": proposed["plan"]["digest"]})
        await client.post("/api/v1/incidents/1/approve", {"plan": for_the_other["plan"]["digest"]})
        await client.until(1, lambda seen: any(line.startswith("fix fix[0]: done") for line in told(seen)))

    assert too_late == 409
    assert for_the_other["labels"]["pod"] == broken
    assert [write.path.split("/")[-2] for write in fake_cluster.requests.writes] == [broken]


@pytest.mark.parametrize(
    "step",
    [
        "{ use: delete_pod, pods: '${{ diagnose.pods.failing_names }}' }",
        "{ use: restart }",
        "{ use: rollback }",
        "{ use: scale, by: 1 }",
    ],
    ids=["delete_pod", "restart", "rollback", "scale"],
)
async def test_what_was_approved_is_still_the_plan_a_minute_later(
    settings_of: SettingsOf, fake_cluster: FakeCluster, step: str
) -> None:
    """A plan that changed with the time was asked for, and paged about, again and again."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")
    fake_cluster.break_until_restarted("prod", "backend", pods=1)

    async with running(settings_of("suggest", **{"service-down": rule_with(step)})) as (_, client):
        await client.alert(**ALERT)
        proposed = await client.until(1, lambda seen: seen["phase"] == "proposed")
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1), tick=True):
            await client.post("/api/v1/incidents/1/approve", {"plan": proposed["plan"]["digest"]})
            done = await client.until(1, lambda seen: any(line.startswith("fix fix[0]: done") for line in told(seen)))

    assert len(fake_cluster.requests.writes) == 1
    assert sum("waits for approval" in line for line in told(done)) == 1


@pytest.mark.parametrize("step", ["{ use: restart }", "{ use: rollback }"], ids=["restart", "rollback"])
async def test_what_was_approved_is_done_though_an_autoscaler_scales_meanwhile(
    settings_of: SettingsOf, fake_cluster: FakeCluster, step: str
) -> None:
    """Under load that is each minute: an approval never counted, and the same was asked for again."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")

    async with running(settings_of("suggest", **{"service-down": rule_with(step)})) as (_, client):
        await client.alert(**ALERT)
        proposed = await client.until(1, lambda seen: seen["phase"] == "proposed")
        fake_cluster.scale("prod", "backend", replicas=4)
        await client.post("/api/v1/incidents/1/approve", {"plan": proposed["plan"]["digest"]})
        done = await client.until(1, lambda seen: any(line.startswith("fix fix[0]: done") for line in told(seen)))

    assert sum("waits for approval" in line for line in told(done)) == 1
    assert fake_cluster.deployment("prod", "backend")["spec"]["replicas"] == 4


BY_POD = """
rule: service-down
summary: A pod crashes again and again.
match:
  - '{alertname="KubePodCrashLooping"}'
severity: sev1
target:
  pod: ${{ alert.labels.pod }}
  namespace: ${{ alert.labels.namespace }}
diagnose:
  pods: { use: pod_status }
fix:
  - use: delete_pod
    when: diagnose.pods.failing > 0
verify:
  within: 5s
  steady_for: 100ms
  checks:
    - use: alert_resolved
"""
GUARDS = """
guards:
  - { use: cooldown, for: 15m }
  - { use: blast_radius, of: pods, per: workload, share: 1, ready_at_least: 0.5, within: 10m }
"""


async def test_the_pod_that_takes_a_deleted_ones_place_is_left_alone_for_as_long(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    """Each replacement has another name: a crash loop was "fixed" for ever, and nobody was paged."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    crashing = {"alertname": "KubePodCrashLooping", "namespace": "prod"}
    [first, second] = fake_cluster.break_until_restarted("prod", "backend", pods=2)[:2]
    fake_cluster.heal_named("prod", [second])
    settings = settings_of("act", **{"service-down": BY_POD, "guards": GUARDS})

    async with running(settings) as (_, client):
        await client.alert(**crashing, pod=first)
        await client.until(1, lambda seen: seen["phase"] == "fixed")
        await client.resolve(**crashing, pod=first)
        await client.until(1, lambda seen: seen["status"] == "resolved")
        fake_cluster.break_named("prod", [second], reason=Fault.CRASHING)
        await client.alert(**crashing, pod=second)
        held = await client.until(2, lambda seen: any("held for" in line for line in told(seen)))

    assert any("deployment/prod/backend was changed less than 15m ago" in line for line in told(held)), told(held)
    assert [write.path.split("/")[-2] for write in fake_cluster.requests.writes] == [first]


async def test_the_last_ready_pod_waits_for_a_person(settings_of: SettingsOf, fake_cluster: FakeCluster) -> None:
    fake_cluster.deploy("prod", "backend", replicas=1)
    rule = rule_with("{ use: delete_pod, pods: '${{ [alert.labels.pod] }}' }")
    [only] = [pod["metadata"]["name"] for pod in fake_cluster.pods("prod", "backend")]

    async with running(settings_of("act", **{"service-down": rule})) as (_, client):
        await client.alert(**ALERT, pod=only)
        proposed = await client.until(1, lambda seen: seen["phase"] == "proposed")
        before = list(fake_cluster.requests.writes)
        await client.post("/api/v1/incidents/1/approve", {"plan": proposed["plan"]["digest"]})
        await client.until(1, lambda seen: any(line.startswith("fix fix[0]: done") for line in told(seen)))

    reason = f"no ready pod of deployment/prod/backend would be left without {only}"
    assert any(f"({reason})" in line for line in told(proposed)), told(proposed)
    assert (before, len(fake_cluster.requests.writes)) == ([], 1)


async def test_the_kill_switch_stops_a_fix_but_not_the_page(settings_of: SettingsOf, fake_cluster: FakeCluster) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    settings = settings_of()

    async with running(settings) as (_, client):
        async with client.session.put(
            f"{client.url}/api/v1/kill-switch",
            json={"on": True, "reason": "the test says so"},
            headers={"Authorization": "Bearer api-token"},
        ) as response:
            assert response.status == 200
        await client.alert(**ALERT)
        await client.until(1, lambda seen: any("sent to alice" in line for line in told(seen)))

    assert fake_cluster.requests.writes == []


async def test_an_alert_that_no_rule_matches_is_stored_and_opens_nothing(settings_of: SettingsOf) -> None:
    settings = settings_of()

    async with running(settings) as (started, client):
        answer = await client.alert(alertname="Watchdog")
        async with started.database.connection() as connection:
            episodes = await connection.fetchval("SELECT count(*) FROM episodes")
        found = await client.incidents()

    assert (answer, episodes, found) == (202, 1, [])


async def test_a_refused_permission_is_named_and_goes_to_a_person(
    settings_of: SettingsOf, fake_cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    fake_cluster.deny("create", "pods/eviction")
    fake_cluster.deny("delete", "pods")
    settings = settings_of()

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: any("sent to alice" in line for line in told(seen)))

    assert any("forbidden" in line for line in told(incident)), told(incident)
    assert re.search(r"automation: .*no other fix step applies; fix\[0\]: .*forbidden", capsys.readouterr().out)
    assert fake_cluster.requests.writes == []


async def test_a_leased_fix_is_taken_back_after_its_time(settings_of: SettingsOf, fake_cluster: FakeCluster) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    rule = rule_with("{ use: scale, by: 2, undo_after: 1s }")
    settings = settings_of(**{"service-down": rule})

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: any(line.startswith("undo : done") for line in told(seen)))

    assert incident["status"] == "resolved"
    assert fake_cluster.deployment("prod", "backend")["spec"]["replicas"] == 3


async def test_the_page_carries_a_link_that_shows_on_get_and_acknowledges_on_post(
    settings_of: SettingsOf, fake_cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_pods("prod", "backend", reason=Fault.CRASHING)
    settings = settings_of()

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        await client.until(1, lambda seen: any("sent to alice" in line for line in told(seen)))
        link = capsys.readouterr().out.partition("acknowledge: ")[2].split()[0]
        async with client.session.get(link) as shown:
            page = await shown.text()
        after_get = await client.incident(1)
        async with client.session.post(link) as acted:
            assert acted.status == 200
        after_post = await client.incident(1)
        async with client.session.post(link[:-4] + "0000") as forged:
            refused = forged.status

    assert "Acknowledge" in page
    assert (after_get["status"], after_post["status"]) == ("triggered", "acknowledged")
    assert (after_post["acknowledged_by"], refused) == ("alice", 403)


async def test_a_dead_channel_falls_through_to_the_next(settings_of: SettingsOf, fake_cluster: FakeCluster) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_pods("prod", "backend", reason=Fault.CRASHING)
    hook = f"{{ use: webhook, url: '{fake_cluster.url}/nobody-here', secret: signing }}"
    settings = settings_of(
        oncall__channels=f"channels:\n  console: {{ use: console }}\n  hook: {hook}\n",
        oncall__people="people:\n  alice: { name: Alice, reach: [{ channel: hook }, { channel: console }] }\n",
    ).model_copy(update={"secrets": {"signing": SecretStr("key")}})

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: any("sent to alice by console" in line for line in told(seen)))

    assert any("hook did not reach alice" in line and "next: console" in line for line in told(incident))


async def test_an_alert_that_ends_because_the_fix_broke_what_it_watched_closes_nothing(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    """After the restart no pod comes up, so none reports too much memory any more."""
    fake_cluster.deploy("prod", "backend", replicas=3)

    async with running(settings_of("act", **{"service-down": rule_with("{ use: restart }")})) as (_, client):
        fake_cluster.break_image("registry.example/app:1")
        await client.alert(**ALERT)
        await client.until(1, lambda seen: seen["phase"] == "fixed")
        await client.resolve(**ALERT)
        handed_over = await client.until(1, lambda seen: seen["phase"] == "handed_over")
        paged = await client.until(1, lambda seen: any("sent to alice" in line for line in told(seen)))

    assert handed_over["status"] == paged["status"] == "triggered"
    assert any("the alert ended, but a fix was not proven and it is not healthy" in line for line in told(handed_over))
