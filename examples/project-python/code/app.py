"""When did the Nile change? Finds the year after which its yearly flow had another mean, and how sure that is.

Reads nile.csv from the input folder; writes result.json and nile.svg to the output folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from pathlib import Path
from statistics import fmean

SHUFFLES = 2000


def best_split(flows: list[float], margin: int = 5) -> tuple[int, float]:
    """The index at which two means explain the flows best, and how much of the variance they explain (0 to 1).

    For each split the explained sum of squares is n1 * n2 / n * (mean1 - mean2) ** 2.
    """
    count, total = len(flows), sum(flows)
    spread = sum(flow * flow for flow in flows) - total * total / count
    best, best_at, left = 0.0, margin, sum(flows[:margin])
    for at in range(margin, count - margin + 1):
        gap = left / at - (total - left) / (count - at)
        explained = at * (count - at) / count * gap * gap / spread
        if explained > best:
            best, best_at = explained, at
        left += flows[at]
    return best_at, best


def chance(flows: list[float], explained: float, rng: random.Random) -> float:
    """How often shuffled years look at least as split as the real ones (a permutation test)."""
    shuffled = list(flows)
    hits = 0
    for done in range(1, SHUFFLES + 1):
        rng.shuffle(shuffled)
        hits += best_split(shuffled)[1] >= explained
        if done % (SHUFFLES // 4) == 0:
            print(f"{done} of {SHUFFLES} shuffles, {hits} as split as the real years", flush=True)
    return (hits + 1) / (SHUFFLES + 1)


def draw(years: list[int], flows: list[float], at: int, before: float, after: float) -> str:
    """The flows as a line, the two means as bars, the change as a dashed line."""

    def x(year: float) -> float:
        return 60 + (year - years[0]) / (years[-1] - years[0]) * 800

    def y(flow: float) -> float:
        return 330 - (flow - 400) / 1000 * 260

    line = " ".join(f"{x(year):.1f},{y(flow):.1f}" for year, flow in zip(years, flows, strict=True))
    grid = "".join(
        f'<line x1="60" x2="860" y1="{y(flow)}" y2="{y(flow)}" stroke="#e4e8ec"/>'
        f'<text x="50" y="{y(flow) + 4}" text-anchor="end" fill="#6b7785">{flow}</text>'
        for flow in range(400, 1401, 200)
    ) + "".join(
        f'<text x="{x(year):.1f}" y="352" text-anchor="middle" fill="#6b7785">{year}</text>'
        for year in range(1880, 1971, 10)
    )
    border = x(years[at] - 0.5)
    means = "".join(
        f'<path d="M {start:.1f} {y(mean):.1f} H {end:.1f}" stroke="{colour}" stroke-width="4"/>'
        f'<text x="{start + 10:.1f}" y="318" font-weight="bold" fill="{colour}">mean {mean:.0f}</text>'
        for start, end, mean, colour in ((60.0, border, before, "#0072B2"), (border, 860.0, after, "#D55E00"))
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 380" width="900" height="380" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">'
        '<rect width="900" height="380" fill="white"/>'
        '<text x="24" y="36" font-size="20" font-weight="bold" fill="#1f2933">'
        f"The Nile changed after {years[at - 1]}</text>"
        '<text x="24" y="56" fill="#6b7785">yearly flow at Aswan, 10⁸ m³</text>'
        f'{grid}<polyline points="{line}" fill="none" stroke="#9aa5b1" stroke-width="1.6" stroke-linejoin="round"/>'
        f'<line x1="{border:.1f}" x2="{border:.1f}" y1="70" y2="330" stroke="#1f2933" stroke-dasharray="5 4"/>'
        f"{means}</svg>\n"
    )


def main() -> None:
    """Find the change, test it, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, default=Path("/input"))
    parser.add_argument("--output", type=Path, default=Path("/output"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    with (options.input / "nile.csv").open(encoding="utf-8", newline="") as file:
        rows = [(int(row["year"]), float(row["volume"])) for row in csv.DictReader(file)]
    years, flows = [year for year, _ in rows], [flow for _, flow in rows]
    print(f"{len(rows)} years, {years[0]} to {years[-1]}")

    at, explained = best_split(flows)
    before, after = fmean(flows[:at]), fmean(flows[at:])
    result = {
        "last_year_before_the_change": years[at - 1],
        "mean_before": round(before, 2),
        "mean_after": round(after, 2),
        "variance_explained": round(explained, 4),
        "p_value": chance(flows, explained, random.Random(1871)),
        "unit": "10^8 cubic metres a year",
    }
    (options.output / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.output / "nile.svg").write_text(draw(years, flows, at, before, after), encoding="utf-8")
    print(f"after {years[at - 1]} the mean flow fell from {before:.0f} to {after:.0f}; wrote result.json and nile.svg")


if __name__ == "__main__":
    main()
