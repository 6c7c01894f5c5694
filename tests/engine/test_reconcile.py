"""What a poll repairs, on a real database and two peers at the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from remediator.clients.alertmanager import Alertmanager, ListSent
from remediator.domain.alert import AlertStatus, Delivery
from remediator.domain.errors import StaleFence
from remediator.engine.reconcile import AttentiveIntake, Reconciler
from remediator.store import reconciliation, sources
from remediator.store.database import Database
from tests.engine.polling import SOURCE, Watch, told_by_webhook, watching
from tests.fakes.alertmanager import MUTED_AT_TIMES

DOWN = {"alertname": "ServiceDown", "deployment": "backend", "namespace": "prod"}
OTHER = {"alertname": "ServiceDown", "deployment": "feed", "namespace": "prod"}
LEASE = timedelta(seconds=60)


@pytest.fixture
async def watch(database: Database, tmp_path: Path) -> AsyncIterator[Watch]:
    async with watching(database, tmp_path) as made:
        yield made


async def test_an_alert_that_no_webhook_told_opens_its_incident_with_a_deadline(watch: Watch) -> None:
    watch.peers[1].fire(**DOWN)

    await watch.poll()

    [episode] = await watch.episodes()
    [incident] = await watch.fetch("SELECT * FROM incidents")
    assert (episode["open"], episode["incident_id"]) == (True, incident["id"])
    assert incident["alert"]["annotations"] == {"summary": "it fires"}
    assert incident["title"] == "ServiceDown on deployment/prod/backend"
    assert len(await watch.fetch("SELECT FROM escalations WHERE due_at IS NOT NULL")) == 1
    assert "ServiceDown was found by polling alertmanager: no webhook had told us of it" in await watch.told()


async def test_what_the_webhook_told_is_the_same_episode(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**DOWN))
    for peer in watch.peers:
        peer.fire(**DOWN)

    await watch.poll(2)
    await watch.webhook(told_by_webhook(**DOWN))

    assert len(await watch.episodes()) == 1
    assert not any("found by polling" in line for line in await watch.told())


async def test_a_start_that_no_webhook_told_is_noted_and_what_merely_goes_on_is_not_told_again(watch: Watch) -> None:
    """Its end was never told, so to us it is the firing that is open. One peer has not heard of the second yet."""
    began = told_by_webhook(since=timedelta(hours=1), **DOWN)
    await watch.webhook(began)
    for peer in watch.peers:
        peer.alerts[peer.fire(**DOWN)]["startsAt"] = began.starts_at.isoformat()
    await watch.later(timedelta(minutes=10))
    await watch.poll()
    [goes_on] = await watch.episodes()

    watch.peers[0].fire(**DOWN)
    await watch.poll()
    [anew] = await watch.episodes()
    await watch.later(timedelta(minutes=10))
    await watch.poll()
    [noted] = await watch.episodes()

    assert goes_on["starts_at"] == began.starts_at
    assert anew["starts_at"] > anew["last_seen_at"] - timedelta(seconds=20)
    assert anew["last_seen_at"] - goes_on["last_seen_at"] > timedelta(minutes=9)
    assert anew["last_seen_at"] - noted["last_seen_at"] == timedelta(minutes=10)


async def test_a_start_that_is_silenced_is_noted_when_the_silence_is_lifted(watch: Watch) -> None:
    began = told_by_webhook(since=timedelta(hours=1), **DOWN)
    await watch.webhook(began)
    watch.peers[0].fire(silenced_by="s-1", **DOWN)
    await watch.poll()
    [silenced] = await watch.episodes()

    watch.peers[0].fire(**DOWN)
    await watch.poll()

    [lifted] = await watch.episodes()
    assert (silenced["starts_at"], lifted["starts_at"] > began.starts_at) == (began.starts_at, True)


async def test_alerts_for_other_receivers_are_not_ours(watch: Watch) -> None:
    watch.peers[0].fire(receiver="other-team", **DOWN)

    await watch.poll()

    assert await watch.episodes() == []


async def test_an_alert_that_vanished_from_every_peer_is_closed_in_the_third_poll(watch: Watch) -> None:
    await watch.had(**DOWN)

    await watch.poll(2)
    [missed] = await watch.episodes()
    await watch.poll()
    [closed] = await watch.episodes()

    assert (missed["open"], missed["missed_polls"]) == (True, 2)
    assert (closed["open"], closed["recovered"]) == (False, True)
    assert any("listed by no peer of alertmanager in 3 polls" in line for line in await watch.told())


async def test_an_alert_whose_start_is_still_to_come_is_closed_like_any_other(watch: Watch) -> None:
    """A sender whose clock is ahead: what vanished has ended, whenever it says it began."""
    await watch.had(since=-timedelta(days=365), **DOWN)

    await watch.poll(4)

    [closed] = await watch.episodes()
    assert (closed["open"], closed["ends_at"]) == (False, closed["starts_at"])
    assert len([line for line in await watch.told() if "listed by no peer" in line]) == 1


async def test_a_peer_that_does_not_answer_closes_nothing_and_its_error_is_kept(watch: Watch) -> None:
    await watch.had(**DOWN)
    watch.peers[1].answers_with = 503

    await watch.poll(5)

    [episode] = await watch.episodes()
    rows = await watch.fetch("SELECT * FROM source_peers ORDER BY error")
    assert (episode["open"], episode["missed_polls"]) == (True, 0)
    assert [row["answered_at"] == row["polled_at"] for row in rows] == [True, False]
    assert "answered 503" in rows[1]["error"]


async def test_a_peer_that_just_restarted_closes_nothing(watch: Watch) -> None:
    await watch.had(**DOWN)
    watch.peers[0].restart()

    await watch.poll(5)

    assert [episode["open"] for episode in await watch.episodes()] == [True]


async def test_what_a_slow_group_of_rules_has_not_told_again_since_a_restart_is_not_closed(watch: Watch) -> None:
    """Of a group that is evaluated every ten minutes, Alertmanager is told every ten minutes."""
    await watch.had(**DOWN)
    for peer in watch.peers:
        peer.started_at = datetime.now(UTC) - timedelta(minutes=10)

    await watch.poll(4)

    assert [episode["open"] for episode in await watch.episodes()] == [True]


async def test_a_peer_that_hides_its_status_opens_as_by_default_and_closes_after_fifteen_minutes(watch: Watch) -> None:
    watch.peers[0].tells_its_status = False
    listed = watch.peers[0].alerts[watch.peers[0].fire(**DOWN)]
    await watch.poll()
    at_first = await watch.episodes()
    listed["startsAt"] = (datetime.now(UTC) - timedelta(seconds=31)).isoformat()
    await watch.poll()
    watch.peers[0].end(**DOWN)
    await watch.poll(4)
    missed = [episode["open"] for episode in await watch.episodes()]

    await watch.later(timedelta(minutes=15))
    await watch.poll()

    assert (at_first, missed) == ([], [True])
    assert [episode["open"] for episode in await watch.episodes()] == [False]


async def test_what_its_sender_may_still_inhibit_or_see_end_is_opened_once_its_group_wait_has_passed(
    watch: Watch,
) -> None:
    watch.peers[0].config = "route: { receiver: remediator, group_wait: 20s }"
    listed = watch.peers[0].alerts[watch.peers[0].fire(**DOWN)]
    await watch.poll()
    at_first = await watch.episodes()

    listed["startsAt"] = (datetime.now(UTC) - timedelta(seconds=21)).isoformat()
    await watch.poll()

    assert at_first == []
    assert [episode["open"] for episode in await watch.episodes()] == [True]


async def test_how_a_peer_is_configured_is_remembered_while_it_does_not_say(watch: Watch) -> None:
    await watch.poll()
    watch.peers[0].tells_its_status = False
    watch.peers[0].fire(**DOWN)

    await watch.poll()

    assert [episode["open"] for episode in await watch.episodes()] == [True]


class TestMuteTimes:
    async def test_a_muted_alert_opens_nothing_and_is_opened_once_the_time_is_over(self, watch: Watch) -> None:
        for peer in watch.peers:
            peer.config = MUTED_AT_TIMES
        watch.peers[0].fire(muted_by="nights", **DOWN)
        await watch.poll()
        muted = await watch.episodes()
        [row] = await watch.fetch("SELECT firing, suppressed, error FROM source_peers WHERE suppressed > 0")

        watch.peers[0].fire(**DOWN)
        await watch.poll()

        assert muted == []
        assert row == {"firing": 0, "suppressed": 1, "error": ""}
        assert [episode["open"] for episode in await watch.episodes()] == [True]

    async def test_it_holds_the_fix_of_what_is_open(self, watch: Watch) -> None:
        await watch.webhook(told_by_webhook(**DOWN))
        watch.peers[0].config = MUTED_AT_TIMES
        watch.peers[0].fire(muted_by="nights", **DOWN)

        await watch.poll()

        [episode] = await watch.episodes()
        assert episode["suppressed_by"] == "mute time nights"

    @pytest.mark.parametrize("fails", [False, True], ids=["an old release", "the list of groups fails"])
    async def test_where_they_are_not_told_polls_close_and_open_nothing_and_say_so_once(
        self, watch: Watch, fails: bool
    ) -> None:
        watch.polled = replace(watch.polled, peers=watch.polled.peers[:1])
        [peer, _] = watch.peers
        peer.config, peer.tells_mutes, peer.groups_answer_with = MUTED_AT_TIMES, False, 500 if fails else 200
        await watch.webhook(told_by_webhook(**OTHER))
        peer.fire(**OTHER)
        peer.fire(**DOWN)

        with capture_logs() as logged:
            await watch.poll()
            peer.end(**OTHER)
            await watch.poll(3)

        [episode] = await watch.episodes()
        [row] = await watch.fetch("SELECT answered_at, firing, error FROM source_peers")
        assert (episode["labels"]["deployment"], episode["open"]) == ("feed", False)
        assert (row["answered_at"] is not None, row["firing"]) == (True, 1)
        assert "polls open nothing of it" in row["error"]
        assert [line["event"] for line in logged].count("polls open nothing of a peer") == 1

    async def test_a_group_is_marked_only_when_it_would_be_told_of_next(self, watch: Watch) -> None:
        watch.peers[0].config = MUTED_AT_TIMES.replace("group_interval: 0s", "group_interval: 20s")
        watch.peers[0].fire(**DOWN)

        await watch.poll()

        assert await watch.episodes() == []

    async def test_grafana_never_tells_them(self, database: Database, tmp_path: Path) -> None:
        async with watching(database, tmp_path, grafana=True) as watch:
            for peer in watch.peers:
                peer.config = '{"route": {"receiver": "remediator", "routes": [{"mute_time_intervals": ["nights"]}]}}'
                peer.fire(**DOWN)

            await watch.poll()

            assert await watch.episodes() == []
            [row, _] = await watch.fetch("SELECT error FROM source_peers")
            assert "Grafana never says so" in row["error"]


async def test_an_entry_that_cannot_be_read_costs_its_neighbours_nothing_and_closes_nothing(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**OTHER))
    watch.peers[0].fire(**DOWN)
    watch.peers[0].alerts["broken"] = {"fingerprint": 7, "labels": "none"}

    await watch.poll(4)

    assert [(e["labels"]["deployment"], e["open"]) for e in await watch.episodes()] == [
        ("feed", True),
        ("backend", True),
    ]


@pytest.mark.parametrize("answer", [b"", b"{}", b"[", b'"alerts"', b"\xff", b"[" * 100_000])
async def test_an_answer_that_is_no_list_of_alerts_closes_nothing(watch: Watch, answer: bytes) -> None:
    await watch.had(**DOWN)
    watch.peers[0].sends = answer or b" "

    await watch.poll(4)

    assert [episode["open"] for episode in await watch.episodes()] == [True]


async def test_a_silenced_alert_is_not_opened_and_is_opened_once_the_silence_ends(watch: Watch) -> None:
    watch.peers[0].fire(silenced_by="s-1", **DOWN)
    await watch.poll()
    silenced = await watch.episodes()

    watch.peers[0].fire(**DOWN)
    await watch.poll()

    assert silenced == []
    assert [episode["open"] for episode in await watch.episodes()] == [True]


async def test_a_silence_on_an_open_alert_is_told_with_its_number_and_lifted(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**DOWN))
    watch.peers[0].fire(silenced_by="s-1", **DOWN)
    await watch.poll(4)
    [silenced] = await watch.episodes()
    watch.peers[0].fire(**DOWN)
    await watch.poll()
    [lifted] = await watch.episodes()

    told = await watch.told()
    assert (silenced["open"], silenced["suppressed_by"], lifted["suppressed_by"]) == (True, "silence s-1", "")
    assert sum("is suppressed at its source (alertmanager): silence s-1" in line for line in told) == 1
    assert (
        sum("is no longer suppressed at its source (alertmanager); it was by silence s-1" in line for line in told) == 1
    )


async def test_of_several_that_inhibit_it_the_peer_names_any_and_it_is_told_once(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**DOWN))
    for inhibitor in ("beef", "cafe", "beef"):
        watch.peers[0].fire(inhibited_by=inhibitor, **DOWN)
        await watch.poll()

    assert len([line for line in await watch.told() if "is suppressed at its source" in line]) == 1


async def test_what_no_peer_ever_listed_stays_open_and_people_are_told_why_once(watch: Watch) -> None:
    """It came from another Alertmanager, which uses the same token and is not among the peers."""
    await watch.webhook(told_by_webhook(**DOWN))

    with capture_logs() as logged:
        await watch.poll(15)

    [episode] = await watch.episodes()
    assert (episode["open"], episode["missed_polls"]) == (True, 10)
    assert [line for line in await watch.told() if "no peer of" in line] == [
        (
            "no peer of alertmanager has ever listed ServiceDown: does another Alertmanager use its login? "
            "Polls do not end it: its sender's resolve does, or a person"
        )
    ]
    assert [line["alerts"] for line in logged if "no peer ever listed" in line["event"]] == [1]


async def test_what_a_poll_opened_and_no_later_one_listed_is_closed(watch: Watch) -> None:
    watch.peers[0].fire(**DOWN)
    await watch.poll()
    watch.peers[0].end(**DOWN)

    await watch.poll(3)

    assert [episode["open"] for episode in await watch.episodes()] == [False]


async def test_a_relapse_soon_after_a_polls_close_is_heard_though_its_clock_is_behind(watch: Watch) -> None:
    """What began after the first poll that missed it is another firing, whenever the third one was."""
    await watch.had(since=timedelta(minutes=10), **DOWN)
    await watch.poll(2)
    await watch.later(timedelta(minutes=1))
    await watch.poll()
    [closed] = await watch.episodes()

    await watch.webhook(told_by_webhook(since=timedelta(seconds=20), **DOWN))

    assert closed["ends_at"] == closed["missed_since"]
    assert [episode["open"] for episode in await watch.episodes()] == [False, True]


class TestWhileNoPeerAnswers:
    @pytest.fixture
    async def held(self, watch: Watch) -> Watch:
        """One alert is silenced, and then its peers fall silent themselves."""
        await watch.webhook(told_by_webhook(**DOWN))
        watch.peers[0].fire(silenced_by="s-1", **DOWN)
        await watch.poll()
        for peer in watch.peers:
            peer.answers_with = 503
        return watch

    async def test_a_suppression_holds_on_and_that_it_is_hearsay_is_told_once(self, held: Watch) -> None:
        await held.poll(2)
        [at_first] = await held.episodes()
        await held.execute("UPDATE source_peers SET answered_at = answered_at - interval '5 min'")

        await held.poll(3)

        [episode] = await held.episodes()
        assert (at_first["suppressed_by"], episode["suppressed_by"]) == ("silence s-1", "silence s-1, as last heard")
        assert [line for line in await held.told() if "answers any more" in line] == [
            (
                "no peer of alertmanager answers any more, where ServiceDown was suppressed by silence s-1: "
                "no fix begins until one does, for what the silence was for may go on"
            )
        ]

    async def test_the_first_answer_ends_it(self, held: Watch) -> None:
        await held.execute("UPDATE source_peers SET answered_at = answered_at - interval '5 min'")
        await held.poll()
        held.peers[0].answers_with = 200

        await held.poll()
        [silenced] = await held.episodes()
        held.peers[0].fire(**DOWN)
        await held.poll()
        [lifted] = await held.episodes()

        assert (silenced["suppressed_by"], lifted["suppressed_by"]) == ("silence s-1", "")

    async def test_one_that_answers_is_enough(self, held: Watch) -> None:
        held.peers[1].answers_with = 200
        await held.execute("UPDATE source_peers SET answered_at = answered_at - interval '5 min'")

        await held.poll()

        [episode] = await held.episodes()
        assert episode["suppressed_by"] == "silence s-1"


@pytest.mark.parametrize(
    "odd",
    ["http://alertmanager..svc:9093", f"http://{'a' * 70}.svc:9093", "http://127.0.0.1:1"],
    ids=["a label is empty", "a label is too long", "nobody is there"],
)
async def test_a_peer_with_an_odd_address_costs_what_the_others_list_nothing(watch: Watch, odd: str) -> None:
    watch.polled = replace(watch.polled, peers=(replace(watch.polled.peers[0], url=odd), watch.polled.peers[1]))
    watch.peers[1].fire(**DOWN)

    await watch.poll()

    assert [episode["open"] for episode in await watch.episodes()] == [True]
    [row] = await watch.fetch("SELECT peer FROM source_peers WHERE error <> ''")
    assert row["peer"] == odd


async def test_whatever_goes_wrong_with_one_peer_is_its_own_and_in_its_report(watch: Watch) -> None:
    class Odd(Alertmanager):
        async def alerts(self) -> ListSent:
            raise OverflowError("date value out of range")

    first, second = watch.polled.peers
    watch.polled = replace(watch.polled, peers=(Odd(first.url, first.kind, first.http), second))
    watch.peers[1].fire(**DOWN)

    await watch.poll()

    assert [episode["open"] for episode in await watch.episodes()] == [True]
    [row] = await watch.fetch("SELECT error FROM source_peers WHERE error <> ''")
    assert "OverflowError: date value out of range" in row["error"]


async def test_a_lifted_silence_wakes_an_incident_that_was_held_for_it(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**DOWN))
    watch.peers[0].fire(inhibited_by="node-down", **DOWN)
    await watch.poll()
    await watch.execute("UPDATE incidents SET wake_at = now() + interval '30 s'")

    watch.peers[0].fire(**DOWN)
    await watch.poll()

    assert len(await watch.fetch("SELECT FROM incidents WHERE wake_at <= now() AND nudges > 0")) == 1


async def test_grafanas_absence_is_no_recovery_and_must_last_fifteen_minutes(
    database: Database, tmp_path: Path
) -> None:
    async with watching(database, tmp_path, grafana=True) as watch:
        await watch.had(**DOWN)
        await watch.poll(5)
        [missed] = await watch.episodes()
        await watch.later(timedelta(minutes=15))
        await watch.poll()
        [closed] = await watch.episodes()

    assert (missed["open"], missed["missed_polls"]) == (True, 5)
    assert (closed["open"], closed["recovered"]) == (False, False)


async def test_what_grafana_lists_is_read_as_its_webhook_would_tell_it(database: Database, tmp_path: Path) -> None:
    async with watching(database, tmp_path, grafana=True) as watch:
        listed = watch.peers[0].alerts[watch.peers[0].fire(__alert_rule_uid__="u", **DOWN)]
        listed["annotations"] |= {"__values__": '{"A": 3}', "__orgId__": "1"}

        await watch.poll()

        [episode] = await watch.episodes()
        [incident] = await watch.fetch("SELECT alert FROM incidents")
    assert (episode["labels"], incident["alert"]["labels"]) == (DOWN, DOWN)
    assert incident["alert"]["annotations"] == {"summary": "it fires"}
    assert incident["alert"]["values"] == {"A": 3.0}


async def test_an_alert_of_grafanas_that_is_no_text_costs_no_other_alert(database: Database, tmp_path: Path) -> None:
    async with watching(database, tmp_path, grafana=True) as watch:
        watch.peers[0].fire(odd="<odd>", **OTHER)
        watch.peers[0].fire(**DOWN)
        listed = json.dumps(list(watch.peers[0].alerts.values())).encode()
        watch.peers[0].sends = listed.replace(b"<odd>", b"\xff")

        await watch.poll()

        assert {episode["labels"]["deployment"] for episode in await watch.episodes()} == {"feed", "backend"}


async def test_sources_without_peers_are_never_touched(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**DOWN))
    await watch.execute("UPDATE episodes SET source = 'pushed-only'")

    await watch.poll(4)

    [episode] = await watch.episodes()
    assert (episode["open"], episode["missed_polls"]) == (True, 0)


async def test_one_replica_polls_a_source_at_a_time_and_an_overtaken_one_changes_nothing(watch: Watch) -> None:
    await watch.webhook(told_by_webhook(**DOWN))
    async with watch.database.transaction() as tx:
        paused = await sources.claim(tx, SOURCE, every=LEASE, lease=LEASE)
    assert paused is not None
    busy = await watch.reconciler.poll(watch.polled)
    await watch.execute("UPDATE source_polls SET lease_until = now() - interval '1 s', due_at = now()")
    taken_over = await watch.reconciler.poll(watch.polled)

    assert (busy, taken_over) == (False, True)
    with pytest.raises(StaleFence):
        async with watch.database.transaction() as tx:
            await sources.hold_fence(tx, paused)


async def test_of_many_replicas_one_polls_and_each_peer_is_asked_once(watch: Watch) -> None:
    replicas = [Reconciler(watch.database, watch.intake, [watch.polled], metrics=watch.metrics) for _ in range(5)]
    watch.peers[0].fire(**DOWN)

    polled = await asyncio.gather(*(replica.poll(watch.polled) for replica in replicas))

    assert sorted(polled) == [False] * 4 + [True]
    assert [peer.polls for peer in watch.peers] == [1, 1]
    assert len(await watch.episodes()) == 1


async def test_counters_of_absence_survive_a_restart(watch: Watch, tmp_path: Path) -> None:
    await watch.had(**DOWN)
    await watch.poll(2)

    async with watching(watch.database, tmp_path / "again") as restarted:
        await restarted.poll()

    assert [episode["open"] for episode in await watch.episodes()] == [False]


async def test_a_truncated_delivery_has_its_source_polled_before_its_time(watch: Watch) -> None:
    """And at once opened, what it left out: its group_wait is over."""
    for peer in watch.peers:
        peer.fire(**DOWN)
        peer.fire(**OTHER)
    await watch.poll()
    await watch.execute("DELETE FROM episodes")
    await watch.execute("UPDATE source_polls SET started_at = now() - interval '6 s'")
    for peer in watch.peers:
        peer.config = "route: { receiver: remediator, group_wait: 1h }"

    not_due = await watch.reconciler.poll(watch.polled)
    told = Delivery(SOURCE, b"{}", (told_by_webhook(**DOWN),), truncated=1)
    await AttentiveIntake(watch.intake, watch.reconciler).accept(told)
    early = await watch.reconciler.poll(watch.polled)

    assert (not_due, early) == (False, True)
    assert {e["labels"]["deployment"] for e in await watch.episodes()} == {"backend", "feed"}


async def test_repairs_and_polls_are_counted(watch: Watch) -> None:
    watch.peers[0].fire(**DOWN)
    watch.peers[1].answers_with = 500
    await watch.poll()

    figures = watch.metrics.render().decode()
    [row] = await watch.fetch("SELECT opened, closed FROM source_polls")
    assert row == {"opened": 1, "closed": 0}
    assert 'remediator_source_repairs_total{repair="opened",source="alertmanager"} 1.0' in figures
    assert 'remediator_source_polls_total{result="failed",source="alertmanager"} 1.0' in figures
    assert 'remediator_source_lag_seconds_count{source="alertmanager"} 1.0' in figures


class TestTheSixWaysToLoseAnAlertSilently:
    """Facts: intake 1.5. What still fires is repaired within one poll; what nobody holds any more cannot be."""

    async def test_1_fired_and_resolved_while_we_were_down_is_lost_by_design(self, watch: Watch) -> None:
        watch.peers[0].fire(**DOWN)
        watch.peers[0].end(**DOWN)

        await watch.poll()

        assert await watch.episodes() == []

    async def test_1_fired_while_we_were_down_and_firing_still_is_opened_at_once(self, watch: Watch) -> None:
        watch.peers[0].fire(**DOWN)

        await watch.poll()

        assert [e["open"] for e in await watch.episodes()] == [True]

    async def test_2_resolved_while_silenced_is_closed_and_its_next_firing_opened(self, watch: Watch) -> None:
        """Alertmanager tells neither: its log still says "firing", until repeat_interval."""
        await watch.webhook(told_by_webhook(since=timedelta(hours=1), **DOWN))
        watch.peers[0].fire(silenced_by="s-1", **DOWN)
        await watch.poll()
        watch.peers[0].end(**DOWN)
        await watch.poll(3)
        after_the_end = [e["open"] for e in await watch.episodes()]

        watch.peers[0].fire(**DOWN)
        await watch.poll()

        assert after_the_end == [False]
        assert [e["open"] for e in await watch.episodes()] == [False, True]

    async def test_3_a_restart_between_resolve_and_flush_leaves_nothing_open_for_ever(self, watch: Watch) -> None:
        await watch.had(**DOWN)
        for peer in watch.peers:
            peer.restart()
        await watch.poll(3)
        in_the_shadow = [e["open"] for e in await watch.episodes()]

        for peer in watch.peers:
            assert peer.started_at is not None
            peer.started_at -= timedelta(minutes=16)
        await watch.poll(3)

        assert in_the_shadow == [True]
        assert [e["open"] for e in await watch.episodes()] == [False]

    async def test_4_what_truncation_cut_off_is_opened(self, watch: Watch) -> None:
        watch.peers[0].fire(**DOWN)
        watch.peers[0].fire(**OTHER)
        await watch.webhook(told_by_webhook(**DOWN), truncated=1)

        await watch.poll()

        assert [(e["labels"]["deployment"], e["open"]) for e in await watch.episodes()] == [
            ("backend", True),
            ("feed", True),
        ]

    async def test_5_a_flap_inside_the_group_interval_is_seen_only_where_it_meets_a_poll(self, watch: Watch) -> None:
        watch.peers[0].fire(**DOWN)
        watch.peers[0].end(**DOWN)
        watch.peers[0].fire(**OTHER)
        await watch.poll()
        watch.peers[0].end(**OTHER)

        assert [e["labels"]["deployment"] for e in await watch.episodes()] == ["feed"]

    async def test_6_a_false_resolve_is_taken_back_once_it_cannot_be_a_late_message(self, watch: Watch) -> None:
        """Prometheus stalled: Alertmanager resolved by time-out, and told us. Then the same alert is sent on, with the
        start it always had, which for five minutes looks like a message that was overtaken."""
        await watch.webhook(told_by_webhook(since=timedelta(hours=1), **DOWN))
        await watch.webhook(told_by_webhook(status=AlertStatus.RESOLVED, since=timedelta(hours=1), **DOWN))
        listed = watch.peers[0].alerts[watch.peers[0].fire(**DOWN)]
        listed["startsAt"] = told_by_webhook(since=timedelta(hours=1)).starts_at.isoformat()
        await watch.poll()
        at_first = [e["open"] for e in await watch.episodes()]

        await watch.later(timedelta(minutes=5))
        await watch.poll()

        assert at_first == [False]
        assert [e["open"] for e in await watch.episodes()] == [False, True]


async def test_open_episodes_of_a_source_are_found_by_index_however_many_have_ended(watch: Watch) -> None:
    await watch.execute(
        """INSERT INTO episodes (source, fingerprint, labels, annotations, starts_at, opened_at, closed_at)
           SELECT 'alertmanager', n::text, '{}', '{}', now(), now() - n * interval '1 min',
                  CASE WHEN n > 50 THEN now() END
           FROM generate_series(1, 20000) n"""
    )
    await watch.execute("VACUUM ANALYZE episodes")

    async with watch.database.connection() as connection:
        plan = await connection.fetch(f"EXPLAIN {reconciliation.OPEN_EPISODES.replace('$1', quoted(SOURCE))}")
        lags = await connection.fetch(f"EXPLAIN {sources.LAGS}")

    assert "episodes_open " in str(plan)
    assert "episodes_opened" in str(lags)


def quoted(text: str) -> str:
    return f"'{text}'"
