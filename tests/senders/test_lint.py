"""What is said of a sender's configuration, and that what we recommend is beyond reproach."""

import pytest

from remediator.language.document import BadYaml, Severity
from remediator.language.foreign_yaml import load_foreign
from remediator.senders.lint import lint_alertmanager, receiver_by_address
from remediator.senders.recommended import recommended

URL = "https://remediator.example.com"
SOUND = recommended("remediator", URL)
RECEIVERS = SOUND[SOUND.index("receivers:") :]


def told(text: str, *, is_polled: bool = True) -> list[str]:
    """What is complained of."""
    problems = lint_alertmanager(load_foreign(text, "am.yml"), "remediator", is_polled=is_polled)
    return [f"{p.severity} {p.line}: {p.message}" for p in problems if p.severity is not Severity.NOTE]


def notes(text: str) -> list[str]:
    problems = lint_alertmanager(load_foreign(text, "am.yml"), "remediator", is_polled=True)
    return [f"{p.line}: {p.message}" for p in problems if p.severity is Severity.NOTE]


def with_line(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace(old, new)


def test_the_recommended_route_has_nothing_to_complain_of() -> None:
    assert told(SOUND) == []
    assert receiver_by_address(load_foreign(SOUND, "am.yml")) == "remediator"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(
            with_line("send_resolved: true", "send_resolved: false"), "error 13: resolved alerts", id="resolves"
        ),
        pytest.param(with_line("max_alerts: 0", "max_alerts: 10"), "error 14: all but 10 alerts", id="truncation"),
        pytest.param(with_line("group_wait: 5s", "group_wait: 11s"), "error 6: group_wait is 11s,", id="group-wait"),
        pytest.param(
            with_line("      group_wait: 5s\n", ""), "error 3: group_wait is 30s, the default", id="no-group-wait"
        ),
        pytest.param(with_line("group_interval: 1m", "group_interval: 5m"), "error 7: group_interval", id="interval"),
        pytest.param(with_line("repeat_interval: 1h", "repeat_interval: 1d"), "error 8: repeat_interval", id="repeat"),
        pytest.param(with_line("authorization", "proxy_headers"), "error 12: it sends no login", id="no-login"),
        pytest.param(with_line("timeout: 10s ", "timeout: 0s "), "warning 15: no time-out", id="no-time-out"),
        pytest.param(
            with_line("url: https", "url: http").replace("follow_redirects: false", "follow_redirects: true"),
            "warning 12: plain http",
            id="redirects",
        ),
        pytest.param(with_line("max_alerts: 0", "payload: {}"), "error 14: a custom payload", id="custom-payload"),
        pytest.param(
            with_line("- receiver: remediator ", "- receiver: other "), "error 2: no route leads", id="no-route"
        ),
        pytest.param(
            with_line("  - name: remediator", "  - name: other"), "error 10: there is no receiver", id="no-name"
        ),
        pytest.param(
            with_line("  routes:\n", "  routes:\n    - receiver: all\n"),
            "error 4: route.routes[1] is never",
            id="shadowed",
        ),
        pytest.param(
            "route: { receiver: remediator, group_wait: 5s, group_interval: 1m, repeat_interval: 1h, routes: ["
            "{ receiver: slack, continue: true }] }\n" + RECEIVERS,
            "error 1: route is never told: route.routes[0] below it matches every alert",
            id="a-child-takes-all",
        ),
        pytest.param(
            with_line("continue: true", "mute_time_intervals: [nights]"), "warning 4: in these times", id="muted"
        ),
        pytest.param(
            with_line("/webhooks/alertmanager", "/webhook"),
            "error 12: the path of its URL is '/webhook', and must end in /webhooks/alertmanager: nothing of ours",
            id="another-path",
        ),
        pytest.param(with_line("/webhooks/alertmanager", ""), "error 12: the path of its URL is '/'", id="no-path"),
        pytest.param(
            with_line("/webhooks/alertmanager", "/webhooks/alertmanager/"),
            "error 12: the path of its URL is '/webhooks/alertmanager/'",
            id="a-slash-too-many",
        ),
        pytest.param(
            with_line("/webhooks/alertmanager", "/webhooks/grafana"),
            "error 12: the path of its URL is '/webhooks/grafana', and must end in /webhooks/alertmanager: that is for "
            "another kind of sender: every delivery is answered 400",
            id="the-path-of-another-kind",
        ),
    ],
)
def test_each_slip_is_told_with_its_line(text: str, complaint: str) -> None:
    assert any(line.startswith(complaint) for line in told(text)), told(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(with_line("  routes:\n", "  routes:\n    - { receiver: all, continue: true }\n"), id="goes-on"),
        pytest.param(
            "route: { receiver: remediator, group_wait: 5s, group_interval: 1m, repeat_interval: 1h, routes: ["
            "{ matchers: [a=b], receiver: slack, continue: true }, { repeat_interval: 2h }] }\n" + RECEIVERS,
            id="a-child-that-leads-to-it-takes-all",
        ),
        pytest.param(
            with_line("authorization", "proxy_headers").replace("https://", "https://am:pw@"), id="login-in-the-url"
        ),
        pytest.param("global: { http_config: { basic_auth: { username: a } } }\n" + SOUND, id="global-login"),
        pytest.param(with_line(f"{URL}/webhooks", f"{URL}/behind/a/proxy/webhooks"), id="behind-a-proxy"),
        pytest.param(with_line("/webhooks/alertmanager", "/webhooks/alertmanager?from=am"), id="a-query"),
        pytest.param(SOUND.replace(f"{URL}/webhooks/alertmanager", "<secret>"), id="blanked"),
        pytest.param(
            with_line("      group_interval: 1m\n", "").replace("route:\n", "route:\n  group_interval: &i 30s\n", 1),
            id="inherited",
        ),
    ],
)
def test_what_is_sound_is_left_alone(text: str) -> None:
    assert told(text) == []


def test_a_timer_that_many_routes_inherit_is_one_problem() -> None:
    text = SOUND.replace("      group_wait: 5s\n", "").replace("  routes:\n", "  group_wait: 1m\n  routes:\n")
    twice = text.replace(
        "    - receiver", "    - { receiver: remediator, matchers: [a=b], group_interval: 1m }\n    - receiver"
    )

    assert sum("group_wait" in line for line in told(twice)) == 1


def test_a_receiver_of_another_name_that_posts_to_us_is_suggested() -> None:
    text = load_foreign(recommended("fixer", URL), "am.yml")

    [problem] = lint_alertmanager(text, "remediator", is_polled=True)

    assert "'fixer' posts to us" in problem.hint


@pytest.mark.parametrize(
    ("text", "silent_for"),
    [
        pytest.param(SOUND, "5m", id="by default"),
        pytest.param("global: { resolve_timeout: 90s }\n" + SOUND, "1m30s", id="as they wrote it"),
    ],
)
def test_where_nobody_polls_it_is_told_once_why_polling_is_necessary(text: str, silent_for: str) -> None:
    [problem] = lint_alertmanager(load_foreign(text, "am.yml"), "remediator", is_polled=False)

    assert "repeat_interval: 1h" in text.splitlines()[problem.line - 1]
    assert problem.severity is Severity.WARNING
    assert (
        "repeat_interval is 1h, and the settings do not poll for 'remediator': polling is necessary" in problem.message
    )
    assert f"did not tell it for {silent_for}) and is told again within 5m, with its old start" in problem.message
    assert "sources: { alertmanager: { peers: [...], receiver: remediator } }" in problem.hint


def test_polling_is_no_necessity_where_everything_is_repeated_soon() -> None:
    assert told(with_line("repeat_interval: 1h", "repeat_interval: 5m"), is_polled=False) == []


@pytest.mark.parametrize("text", ["", "[]", "a: [", "a: &x [*x]\nb: !!python/name:os.system x", "\x00", "1"])
def test_what_is_no_configuration_is_refused_with_a_place(text: str) -> None:
    with pytest.raises(BadYaml, match=r"am\.yml:\d+:\d+"):
        load_foreign(text, "am.yml")


@pytest.mark.parametrize(
    "text", ["route: 1", "route: { routes: 1 }", "receivers: [1, { name: remediator }]", "a: &x [*x]"]
)
def test_nonsense_in_the_right_places_is_no_crash(text: str) -> None:
    assert any("error" in line for line in told(text))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param("url: <secret>", "which is blanked", id="blanked by a running one"),
        pytest.param("url_file: /etc/alertmanager/url", "which is kept in a file", id="in a file"),
        pytest.param("url: 'https://{{ .GroupLabels.cluster }}/x'", "which cannot be read as one", id="a template"),
    ],
)
def test_an_address_that_is_not_told_is_not_checked_and_not_complained_of(url: str, why: str) -> None:
    """The login may be in it."""
    with_login = with_line(f"url: {URL}/webhooks/alertmanager", url)
    without = with_login.replace("authorization", "proxy_headers")

    assert (told(with_login), told(without)) == ([], [])
    assert notes(with_login) == [f"12: not checked: whether its URL, {why}, ends in /webhooks/alertmanager"]
    assert notes(without)[0].endswith("and whether a login is in it (http_config has none)")


OTHER = f"""
  - name: remediator-critical
    webhook_configs: [ {{ url: {URL}/webhooks/alertmanager, max_alerts: 5, send_resolved: false }} ]
"""


def test_every_receiver_that_posts_to_us_is_reviewed() -> None:
    complaints = told(SOUND + OTHER)

    assert any(line.startswith("error 22: all but 5 alerts") for line in complaints)
    assert any(line.startswith("error 22: resolved alerts are not sent") for line in complaints)
    assert any(line.startswith("error 22: it sends no login") for line in complaints)


def test_another_receiver_that_posts_to_us_is_judged_by_its_own_routes_and_by_whether_it_is_polled() -> None:
    routed = SOUND.replace("receivers:", "    - receiver: remediator-critical\nreceivers:") + OTHER
    document = load_foreign(routed, "am.yml")

    unpolled, polled = (
        [p.message for p in lint_alertmanager(document, "remediator", is_polled=True, also_polled=others)]
        for others in ((), ("remediator-critical",))
    )

    assert any(m.startswith("group_wait is 30s, the default, on the way to 'remediator-critical'") for m in polled)
    assert any("the settings do not poll for 'remediator-critical'" in message for message in unpolled)
    assert not any("the settings do not poll" in message for message in polled)


def test_a_webhook_beside_ours_that_leads_elsewhere_is_left_alone() -> None:
    assert told(SOUND + "      - url: http://chat.example.com/hook\n        max_alerts: 5\n") == []


def test_the_hint_on_mute_times_does_not_promise_what_polls_cannot_do() -> None:
    muted = load_foreign(with_line("continue: true", "mute_time_intervals: [nights]"), "am.yml")

    [problem] = lint_alertmanager(muted, "remediator", is_polled=True)

    assert problem.hint.startswith("mute the routes that lead to people, not this one")
    assert "before 0.28) cannot tell it from one that was lost" in problem.hint
