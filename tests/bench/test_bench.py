"""What the bench stands on: true alerts, an honest sender, and a drawing that opens."""

from collections.abc import AsyncIterator
from xml.etree import ElementTree

import pytest
from aiohttp import web

from remediator.domain.ids import SourceName
from remediator.sources.alertmanager import Alertmanager
from tests.bench import alerts
from tests.bench.drawing import draw
from tests.bench.figures import Figure, Goal, Reading, Unit, table
from tests.bench.load import Order, Refused, Telling, send
from tests.fakes.serving import serving

FIGURES = [
    Figure(
        subject="intake",
        what="1 a POST <new>",
        unit=Unit.ALERTS,
        ours=Reading(6_000, 0.002, 0.004),
        floor=Reading(10_000, 0.001, 0.002),
        ratio=0.6,
        goal=Goal("at least 60 %", met=True),
    ),
    Figure(subject="footprint", what="idle", unit=Unit.BYTES, ours=Reading(80e6)),
]


def read(body: bytes) -> list[tuple[str, dict[str, str]]]:
    delivery = Alertmanager().parse(body, {}, SourceName("alertmanager"))
    assert not delivery.rejected
    return [(alert.fingerprint, dict(alert.labels)) for alert in delivery.alerts]


def test_a_body_is_what_alertmanager_sends_and_an_alert_is_its_number() -> None:
    body = alerts.body(range(1_000))

    told = read(body)

    assert len({fingerprint for fingerprint, _ in told}) == 1_000
    assert told[700] == read(alerts.body([700]))[0]
    assert told[700][1]["pod"] == alerts.pod(700)
    assert 800 < len(body) / 1_000 < 1_100


@pytest.mark.parametrize("telling", Telling)
async def test_every_202_counts(receiver: tuple[int, list[int]], telling: Telling) -> None:
    port, taken = receiver

    sent = await send(Order(ports=(port,), alerts=10, connections=3, posts=50, telling=telling))

    assert sent.alerts == 500
    assert len(taken) == 50
    assert 0 < sent.p50 <= sent.p99 <= sent.longest


async def test_anything_but_a_202_ends_the_run(receiver: tuple[int, list[int]]) -> None:
    port, taken = receiver
    taken.extend(range(80))

    with pytest.raises(Refused, match="503"):
        await send(Order(ports=(port,), connections=2, posts=100))


def test_the_drawing_has_two_bars_for_each_figure_with_a_floor() -> None:
    drawing = ElementTree.fromstring(draw(FIGURES, title="How fast & how sure"))  # noqa: S314  # our own text

    bars = [bar.get("class") for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == ["ours", "floor"] * 2  # the first pair is the legend


def test_the_table_says_how_far_from_the_floor() -> None:
    header, rows = table(FIGURES)

    assert rows[0][header.index("ratio")] == "60%"
    assert rows[0][header.index("goal")] == "at least 60 %: met"
    assert rows[1][header.index("ratio")] == ""


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[int, list[int]]]:
    """Takes a hundred deliveries, then is overloaded."""
    taken: list[int] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(len(await request.read()))
        return web.Response(status=202 if len(taken) <= 100 else 503)

    app = web.Application()
    app.add_routes([web.post("/webhooks/alertmanager", take)])
    async with serving(app) as url:
        yield int(url.rpartition(":")[2]), taken
