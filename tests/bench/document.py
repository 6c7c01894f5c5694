"""`docs/bench.md` and `docs/bench.svg`: the figures of one run, and how to get them again."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from tests.bench.drawing import draw
from tests.bench.figures import Figure, table

DOCS = Path("docs")

_TEXT = """# How fast

Written by `make bench WRITE=1`. {machine}: the load, the daemon and PostgreSQL share them, with `fsync` on.

**Ratios carry over to other machines, absolute figures do not.** Each figure stands beside its floor, measured in the
same run, by turns. For the intake that is the same HTTP handler and the same group commit, storing one bare row an
alert without episodes, rules and incidents (`tests/bench/floor.py`); elsewhere what the column names. For rates, 100 %
is the floor; for times, 1.00x.

![Ours beside its floor, figure by figure](bench.svg)

{table}

```
make bench                 # everything, a quarter of an hour on a quiet machine
make bench QUICK=1         # a minute or two: fewer cases, one round each; shows breakage, not differences
make bench ONLY=intake     # one subject: {subjects}
make bench WRITE=1         # rewrites this page
.venv/bin/python -m tests.bench -o json
```

- An alert is about 0.9 kB with eight labels; senders keep their connections and wait for each 202. Anything but a 202
  ends the run with an error.
- The pipeline's incidents are walked by real plug-ins against targets on the same machine: a GET, an UNLINK of the keys
  it found, a GET.
- The load, the floor, the daemon and whoever is paged are processes of their own.
"""


def write(figures: Sequence[Figure], subjects: Sequence[str]) -> None:
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    title = f"How fast, beside its floor ({machine})"
    text = _TEXT.format(machine=machine, table=_markdown(figures), subjects=", ".join(subjects))
    (DOCS / "bench.md").write_text(text)
    (DOCS / "bench.svg").write_text(draw(figures, title=title))


def _markdown(figures: Sequence[Figure]) -> str:
    header, rows = table(figures)
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
