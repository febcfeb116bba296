"""Your program. It reads /input, which is input/ of the bundle, and writes what is to come back to /output."""

from __future__ import annotations

import csv
from pathlib import Path

INPUT, OUTPUT = Path("/input"), Path("/output")


def main() -> None:
    """Add the numbers up."""
    with (INPUT / "numbers.csv").open(newline="") as file:
        total = sum(float(row["x"]) for row in csv.DictReader(file))
    (OUTPUT / "total.txt").write_text(f"{total}\n")
    print(f"The total is {total}.")


if __name__ == "__main__":
    main()
