"""The figures as an SVG of plain bars: ours beside its floor. Readable on a light page and on a dark one."""

from collections.abc import Iterator, Sequence
from html import escape

from tests.bench.figures import Figure, Reading, shown, shown_ratio

WIDTH = 960
LABEL = 430
"""Where the bars begin."""
LONGEST_BAR = 330
BAR = 11
ROW = 40
TOP = 84

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 18px; font-weight: 600 }
  .value { font-size: 11px }
  .ours { fill: #2f81f7 }
  .floor { fill: #9aa4af }
  .missed { fill: #cf222e; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #adbac7 }
    .floor { fill: #6e7681 }
    .missed { fill: #ff7b72 }
  }
"""


def draw(figures: Sequence[Figure], *, title: str) -> str:
    """Those that have a floor; the two bars of a pair share a scale, pairs do not."""
    compared = [figure for figure in figures if figure.floor is not None]
    height = TOP + ROW * len(compared) + 16
    rows = "\n".join(line for place, figure in enumerate(compared) for line in _row(figure, TOP + ROW * place))
    title = escape(title)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>{_STYLE}</style>
<text class="title" x="16" y="28">{title}</text>
{_legend()}
{rows}
</svg>
"""


def _legend() -> str:
    return (
        '<rect class="ours" x="16" y="44" width="12" height="12"/><text x="34" y="55">Remediator</text>\n'
        '<rect class="floor" x="130" y="44" width="12" height="12"/>'
        '<text x="148" y="55">its floor in the same run: the same work without our logic</text>\n'
        f'<text x="{WIDTH - 16}" y="55" text-anchor="end">% of its rate, or times its time</text>'
    )


def _row(figure: Figure, top: int) -> Iterator[str]:
    assert figure.floor is not None
    scale = LONGEST_BAR / (max(figure.ours.value, figure.floor.value) or 1)
    yield f'<text x="16" y="{top + 16}">{escape(_shortened(f"{figure.subject}: {figure.what}"))}</text>'
    yield from _bar("ours", figure, figure.ours, scale=scale, y=top)
    yield from _bar("floor", figure, figure.floor, scale=scale, y=top + BAR + 2)
    style = "missed" if figure.goal is not None and not figure.goal.met else "ratio"
    yield f'<text class="{style}" x="{WIDTH - 16}" y="{top + 16}" text-anchor="end">{shown_ratio(figure)}</text>'


def _bar(style: str, figure: Figure, reading: Reading, *, scale: float, y: int) -> Iterator[str]:
    length = max(reading.value * scale, 1)
    yield f'<rect class="{style}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}"/>'
    value = escape(shown(reading.value, figure.unit))
    yield f'<text class="value" x="{LABEL + length + 6:.1f}" y="{y + 10}">{value}</text>'


def _shortened(text: str) -> str:
    return text if len(text) <= 62 else text[:61] + "…"
