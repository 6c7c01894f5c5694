"""Where a rule sends the people who respond: to web addresses, and nowhere that means another thing to who shows it."""

import pytest

from remediator.domain.guidance import (
    LONGEST_LINK,
    BadLink,
    Guidance,
    checked_link,
    checked_link_name,
    guidance_in,
)

GRAFANA = "https://grafana.example.invalid/d/errors?var-ns=prod&from=now-1h#panel-2"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(GRAFANA, id="a dashboard"),
        pytest.param("http://kibana:5601/app/discover#/?_g=(time:(from:now-1h,to:now))", id="brackets and a port"),
        pytest.param("http://[2001:db8::1]/", id="an address"),
        pytest.param("https://wiki.example.invalid/Stör\u00fcbung", id="letters of another language"),
        pytest.param(f"https://a.example.invalid/{'x' * 974}", id="as long as one may be"),
    ],
)
def test_a_web_address_is_a_link(url: str) -> None:
    assert checked_link(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param("javascript:alert(1)", "write it like https://", id="a script"),
        pytest.param("data:text/html,x", "write it like https://", id="a document of its own"),
        pytest.param("//evil.example.invalid", "write it like https://", id="no scheme"),
        pytest.param("HTTPS://a.example.invalid", "write it like https://", id="capitals, which the schema refuses"),
        pytest.param("https:///path", "write it like https://", id="no host"),
        pytest.param("https://", "write it like https://", id="nothing"),
        pytest.param("https://[::1", "is no link: Invalid IPv6 URL", id="half an address"),
        pytest.param("https://a.example.invalid:x/", "is no link: Port", id="a port that is none"),
        pytest.param("https://a.example.invalid/a b", "percent-encoded", id="a space"),
        pytest.param("https://a.example.invalid/\nAcknowledge: https://b", "percent-encoded", id="a line of its own"),
        pytest.param('https://a.example.invalid/"onclick=', "percent-encoded", id="a quote"),
        pytest.param("https://a.example.invalid/<b>", "percent-encoded", id="a tag"),
        pytest.param("https://a.example.invalid\\@b.example.invalid", "percent-encoded", id="a backslash"),
        pytest.param("https://a.example.invalid/\u202egpj.exe", "percent-encoded", id="text that runs backwards"),
        pytest.param("https://alice:s3cret@a.example.invalid/", "no login", id="a login"),
        pytest.param("https://a.example.invalid/${{ alert.name }}", "takes no", id="an expression"),
        pytest.param(f"https://a.example.invalid/{'x' * LONGEST_LINK}", "at most 1,000", id="too long for a page"),
    ],
)
def test_what_is_no_link_is_refused_and_why_is_said(url: str, why: str) -> None:
    with pytest.raises(BadLink, match=why):
        checked_link(url)


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "two\nlines", "\x1b[2J"])
def test_a_links_name_is_a_few_words_in_one_line(name: str) -> None:
    with pytest.raises(BadLink):
        checked_link_name(name)


@pytest.mark.parametrize(
    ("document", "guidance"),
    [
        pytest.param(
            {"summary": "down", "links": {"Errors": GRAFANA}}, Guidance("down", {"Errors": GRAFANA}), id="all"
        ),
        pytest.param({}, Guidance(), id="nothing"),
        pytest.param({"summary": 3, "links": ["a"]}, Guidance(), id="another release's"),
        pytest.param(
            {"links": {"Bad": "javascript:alert(1)", "None": 3, "Good": GRAFANA}},
            Guidance("", {"Good": GRAFANA}),
            id="some",
        ),
    ],
)
def test_what_cannot_be_shown_of_a_stored_rule_is_left_out(document: dict[str, object], guidance: Guidance) -> None:
    assert guidance_in(document) == guidance
