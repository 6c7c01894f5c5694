"""Makes daemons fast: one process has loaded everything, and each daemon is a fork of it (20 ms instead of 2 s).

The children are real processes with a life, a death and a log of their own. The nursery tells of their ends and, since
a supervisor must see zombies, of their stops; when its own parent goes away it takes the children with it.
"""

import asyncio
import gc
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Child:
    """One life of a daemon, as its supervisor sees it."""

    pid: int
    ended: asyncio.Future[int]
    """The exit code; negative is the signal that ended it."""
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    stands_since: float = field(default_factory=time.monotonic)
    """Its birth, or when it was let go on last."""

    @property
    def is_alive(self) -> bool:
        return not self.ended.done()

    def stands(self, since: float) -> bool:
        """Neither dead nor frozen, from that moment until now."""
        return self.is_alive and not self.stopped.is_set() and self.stands_since <= since

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: list[asyncio.Future[Child]] = []
        self._children: dict[int, Child] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Nursery"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.faults.nursery",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        nursery = cls(process)
        listening = asyncio.create_task(nursery._listen())
        try:
            yield nursery
        finally:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
            await listening

    async def bear(self, environment: Mapping[str, str], log: Path) -> Child:
        """A daemon with this environment and no other variables of ours; stdout and stderr are added to `log`."""
        assert self._process.stdin is not None
        born: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._waiting.append(born)
        self._process.stdin.write(json.dumps({"environment": dict(environment), "log": str(log)}).encode() + b"\n")
        await self._process.stdin.drain()
        return await born

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._hear(json.loads(line))

    def _hear(self, told: dict[str, Any]) -> None:
        pid: int = told["pid"]
        if told["what"] == "born":
            child = Child(pid, asyncio.get_running_loop().create_future())
            self._children[pid] = child
            waiting = self._waiting.pop(0)
            if waiting.cancelled():
                child.signal(signal.SIGKILL)
            else:
                waiting.set_result(child)
        elif told["what"] == "stopped":
            self._children[pid].stopped.set()
        else:
            self._children.pop(pid).ended.set_result(told["code"])


def main() -> None:
    """The nursery's own process: one line of JSON in for a child, one line out for each thing that befalls one."""
    _load_everything()
    gc.collect()
    gc.freeze()
    bell, clapper = os.pipe()
    for end in (bell, clapper):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(clapper, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(bell, selectors.EVENT_READ)
    children: set[int] = set()
    unread = b""
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if bell in ready:
            os.read(bell, 1 << 16)
            _tell_of(children)
        if 0 in ready:
            heard = os.read(0, 1 << 20)
            if not heard:
                _bury(children)
                return
            *asked, unread = (unread + heard).split(b"\n")
            for line in asked:
                children.add(_fork(json.loads(line)))


def _load_everything() -> None:
    """Also what the daemon itself imports late: every life would pay for it, more than for all else that it does."""
    import time_machine  # noqa: F401

    import remediator.app
    import remediator.cli.serve  # noqa: F401
    from remediator.actions import Action
    from remediator.catalogue import plugins_of
    from remediator.checks import Check
    from remediator.clients.kubernetes import library
    from remediator.diagnostics import Diagnostic
    from remediator.guards import Guard
    from remediator.notifiers import Notifier
    from remediator.rules.loader import load_rules
    from remediator.sources import Source

    for family in (Action, Check, Diagnostic, Guard, Notifier, Source):
        plugins_of(family)
    library.load()
    load_rules(Path("rules"))  # what is compiled and cached on the way is there for every child


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _live(asked["environment"], asked["log"])
    _say({"what": "born", "pid": pid})
    return pid


def _live(environment: dict[str, str], log: str) -> None:
    """The child: everything of the nursery's is put back, then it is the daemon. Never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 64)
        os.environ.update(
            environment, SSL_CERT_FILE=os.devnull, SSL_CERT_DIR=os.devnull
        )  # read at each start otherwise
        from tests.faults.daemon import main as serve

        serve()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell_of(children: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            _say({"what": "stopped", "pid": pid})
        else:
            children.discard(pid)
            _say({"what": "ended", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _bury(children: set[int]) -> None:
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
