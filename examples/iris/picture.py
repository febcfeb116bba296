"""The picture of a training run, as SVG: how the loss fell, where the flowers lie, and what was taken for what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

COLOURS = ("#0072B2", "#E69F00", "#009E73")  # Okabe and Ito: can be told apart by colour-blind readers too
INK, SOFT, GRID, MISS = "#1f2933", "#6b7785", "#e4e8ec", "#d1495b"
WIDTH, HEIGHT = 1080, 450
TOP, BOTTOM = 96, 380

Curve = Sequence[tuple[int, float, float]]
Scale = Callable[[float], float]


def draw(
    species: Sequence[str],
    curve: Curve,
    train: Sequence[tuple[float, float, int]],
    test: Sequence[tuple[float, float, int, int]],
    confusion: Sequence[Sequence[int]],
) -> str:
    """The whole picture.

    Args:
        curve: epoch, training loss, test loss.
        train: petal length, petal width, species.
        test: petal length, petal width, species, predicted species.
        confusion: counts of test flowers by true (row) and predicted (column) species.
    """
    right = sum(confusion[i][i] for i in range(len(species)))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">'
    )
    parts = [
        head,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(40, 40, f"{right} of {len(test)} iris flowers recognised", size=22, weight="bold"),
        *losses(curve),
        *petals(species, train, test),
        *matrix(species, confusion),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def losses(curve: Curve) -> Iterator[str]:
    """Left: training and test loss over the epochs."""
    last = curve[-1][0]
    x = axis((0, last), (64, 350))
    high = 0.4 * math.ceil(max(max(train, test) for _, train, test in curve) / 0.4)
    y = axis((0, high), (BOTTOM, TOP))
    yield text(40, 76, "Loss while learning", weight="bold")
    yield from frame(x, y, [0, last // 4, last // 2, 3 * last // 4, last], [high * step / 4 for step in range(5)])
    yield text(207, 422, "epoch", anchor="middle", colour=SOFT)
    for column, name, colour, dash, row in ((1, "training", INK, "", 0), (2, "test", MISS, "6 4", 1)):
        points = " ".join(f"{x(step[0]):.1f},{y(step[column]):.1f}" for step in curve)
        style = f'fill="none" stroke="{colour}" stroke-width="2.2" stroke-dasharray="{dash}" stroke-linejoin="round"'
        yield f'<polyline points="{points}" {style}/>'
        yield f'<polyline points="238,{120 + 22 * row} 266,{120 + 22 * row}" {style}/>'
        yield text(274, 124.5 + 22 * row, name)


def petals(
    species: Sequence[str], train: Sequence[tuple[float, float, int]], test: Sequence[tuple[float, float, int, int]]
) -> Iterator[str]:
    """Middle: petal length against width; test flowers in the colour of what they were taken for."""
    x = axis((0.5, 7.5), (424, 764))
    y = axis((0, 2.75), (BOTTOM, TOP))
    yield text(400, 76, "Petals: test flowers by predicted species", weight="bold")
    yield from frame(x, y, [1, 2, 3, 4, 5, 6, 7], [0, 0.5, 1, 1.5, 2, 2.5])
    yield text(594, 422, "petal length (cm)", anchor="middle", colour=SOFT)
    yield text(432, TOP + 4, "petal width (cm)", colour=SOFT, size=12)
    for length, width, kind in train:
        yield f'<circle cx="{x(length):.1f}" cy="{y(width):.1f}" r="3" fill="{COLOURS[kind]}" opacity="0.22"/>'
    for length, width, kind, guess in test:
        at = f'cx="{x(length):.1f}" cy="{y(width):.1f}"'
        yield f'<circle {at} r="5" fill="{COLOURS[guess]}" stroke="white" stroke-width="1"/>'
        if guess != kind:
            yield f'<circle {at} r="9" fill="none" stroke="{MISS}" stroke-width="2"/>'
    for row, name in enumerate(species):
        yield f'<circle cx="452" cy="{130 + 22 * row}" r="5" fill="{COLOURS[row]}"/>'
        yield text(466, 134.5 + 22 * row, name)
    yield f'<circle cx="452" cy="{130 + 66}" r="6" fill="none" stroke="{MISS}" stroke-width="2"/>'
    yield text(466, 134.5 + 66, "mistaken")
    yield f'<circle cx="452" cy="{130 + 88}" r="3" fill="{INK}" opacity="0.3"/>'
    yield text(466, 134.5 + 88, "learnt from")


def matrix(species: Sequence[str], confusion: Sequence[Sequence[int]]) -> Iterator[str]:
    """Right: what was taken for what."""
    left, top, cell = 876, 140, 60
    yield text(800, 76, "Species (rows) and guess (columns)", weight="bold")
    for i, name in enumerate(species):
        yield text(left - 10, top + cell * (i + 0.5) + 4, name, anchor="end", size=12)
        yield text(left + cell * (i + 0.5), top - 10, name, anchor="middle", size=11)
    for row, counts in enumerate(confusion):
        for column, count in enumerate(counts):
            strength = count / max(1, sum(counts))
            colour = COLOURS[row] if row == column else MISS
            box = f'x="{left + cell * column + 1}" y="{top + cell * row + 1}" width="{cell - 2}" height="{cell - 2}"'
            yield f'<rect {box} rx="4" fill="#f4f6f8"/>'
            yield f'<rect {box} rx="4" fill="{colour}" opacity="{strength * 0.85:.2f}"/>'
            ink = "white" if strength > 0.5 else (INK if count else "#b8c0c8")
            middle = left + cell * (column + 0.5)
            yield text(middle, top + cell * (row + 0.5) + 6, str(count), anchor="middle", size=17, colour=ink)


def axis(values: tuple[float, float], pixels: tuple[float, float]) -> Scale:
    """From a value to its place in the picture."""
    (low, high), (start, end) = values, pixels
    return lambda value: start + (value - low) / (high - low) * (end - start)


def frame(x: Scale, y: Scale, columns: Sequence[float], rows: Sequence[float]) -> Iterator[str]:
    """Grid lines and their numbers; the lowest row is the axis."""
    for row in rows:
        colour = INK if row == rows[0] else GRID
        ends = f'x1="{x(columns[0]) - 4:.1f}" x2="{x(columns[-1]) + 4:.1f}" y1="{y(row):.1f}" y2="{y(row):.1f}"'
        yield f'<line {ends} stroke="{colour}"/>'
        yield text(x(columns[0]) - 10, y(row) + 4, f"{row:g}", anchor="end", colour=SOFT, size=12)
    for column in columns:
        yield text(x(column), y(rows[0]) + 20, f"{column:g}", anchor="middle", colour=SOFT, size=12)


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, weight: str = "normal", colour: str = INK
) -> str:
    """A line of text; `words` are our own and need no escaping."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text {place} fill="{colour}">{words}</text>'
