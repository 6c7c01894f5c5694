"""The load: senders on kept-alive connections, in a process of its own and on bare sockets, so that it costs little.

`python -m tests.bench.load '{"ports": [8080], ...}'` prints one `Sent` as JSON, or what was answered instead of a 202.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import cast

import msgspec
import uvloop

from tests.bench import alerts

DISTINCT = 10_000
"""Alerts that are told again and again."""
ANSWER_WITHIN = 60.0


class Telling(StrEnum):
    NEW = "new"
    """Each alert is one that was never told before."""
    AGAIN = "again"
    """The same alerts over and over, as a sender repeats what still fires."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send."""

    ports: tuple[int, ...]
    token: str = ""
    alerts: int = 1
    """A POST."""
    connections: int = 16
    telling: Telling = Telling.NEW
    seconds: float = 0.0
    posts: int = 0
    """Instead of `seconds`: so many, and then stop."""
    warm_up: float = 0.0
    """Seconds that are not counted."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; latencies are the time to each 202, in seconds."""

    alerts: int
    seconds: float
    p50: float
    p99: float
    longest: float

    @property
    def rate(self) -> float:
        return self.alerts / self.seconds


class Refused(Exception):
    """Something else than a 202 was answered."""


class Senders:
    """All connections together: they share the bodies and stop together."""

    def __init__(self, order: Order) -> None:
        self.took: list[float] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order = order
        self._bodies = _bodies(order)
        self._left = order.posts or sys.maxsize
        self._idle = 0
        self.counts_from = time.perf_counter() + order.warm_up
        self.until = self.counts_from + order.seconds if order.seconds else float("inf")

    def next_request(self) -> bytes | None:
        """None: it is over."""
        if self._left <= 0 or time.perf_counter() >= self.until:
            return None
        self._left -= 1
        return request(next(self._bodies), self._order.token)

    def answered(self, began: float) -> None:
        now = time.perf_counter()
        if began >= self.counts_from:
            self.took.append(now - began)

    def stopped(self) -> None:
        self._idle += 1
        if self._idle == self._order.connections and not self.over.done():
            self.over.set_result(None)

    def failed(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)


class Sender(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last is in."""

    def __init__(self, senders: Senders) -> None:
        self._senders = senders
        self._received = b""
        self._began = 0.0
        self._stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own kind, which is no subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = whole_answer(self._received)
        if answer is None:
            return
        self._received = b""
        if not answer.startswith(b"HTTP/1.1 202"):
            self._senders.failed(Refused(f"answered otherwise than 202: {answer.decode(errors='replace')}"))
            return
        self._senders.answered(self._began)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._stopped:
            self._senders.failed(Refused(f"the connection was cut: {error or 'closed by the other side'}"))

    def _send(self) -> None:
        following = self._senders.next_request()
        if following is None:
            self._stopped = True
            self._senders.stopped()
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(following)


def request(body: bytes, token: str) -> bytes:
    return (
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: bench\r\nUser-Agent: Alertmanager/0.34\r\n"
        b"Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (token.encode(), len(body))
    ) + body


def whole_answer(received: bytes) -> bytes | None:
    """None: more is to come."""
    head, mark, content = received.partition(b"\r\n\r\n")
    if not mark:
        return None
    _, found, rest = head.lower().partition(b"content-length:")
    length = int(rest.partition(b"\r\n")[0]) if found else 0
    return received if len(content) >= length else None


def _bodies(order: Order) -> Iterator[bytes]:
    if order.telling is Telling.NEW:
        number = random.getrandbits(48) << 12
        while True:
            yield alerts.body(range(number, number + order.alerts))
            number += order.alerts
    kept = [alerts.body(range(n, n + order.alerts)) for n in range(0, DISTINCT, order.alerts)]
    while True:
        yield from kept


async def send(order: Order) -> Sent:
    loop = asyncio.get_running_loop()
    senders = Senders(order)
    ports = [order.ports[number % len(order.ports)] for number in range(order.connections)]
    opening = (loop.create_connection(lambda: Sender(senders), "127.0.0.1", port) for port in ports)
    await asyncio.gather(*opening)
    async with asyncio.timeout(order.warm_up + order.seconds + ANSWER_WITHIN):
        await senders.over
    took = sorted(senders.took)
    if not took:
        raise Refused("no answer came after the warm-up")
    return Sent(
        alerts=len(took) * order.alerts,
        seconds=time.perf_counter() - senders.counts_from,
        p50=took[len(took) // 2],
        p99=took[min(int(len(took) * 0.99), len(took) - 1)],
        longest=took[-1],
    )


def main(order: Order) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            sent = runner.run(send(order))
        except (Refused, OSError, TimeoutError) as error:
            sys.exit(str(error) or f"not answered within {ANSWER_WITHIN:.0f} s")
    sys.stdout.buffer.write(msgspec.json.encode(sent))


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
