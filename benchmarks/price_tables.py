"""Writes the price tables of docs/results.md: `price_tables.py FOLDER RDATASETS`.

RDATASETS is a folder of R's datasets as CSV files (`Ecdat/Computers.csv`, `ggplot2/diamonds.csv`), such as the package
pydataset contains. The table of insurance charges is generated here and resembles the well-known one: squares of the age, a
step for smokers with a high body mass index, and a heavy tail.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

SMOKERS, RARE = 0.2, 0.12


def copy(source: Path, target: Path, most: int | None = None) -> None:
    """Copies a table without its first, nameless column; with `most`, copies that many rows, sampled with seed 0."""
    with source.open(newline="") as file:
        header, *rows = (row[1:] for row in csv.reader(file))
    if most is not None:
        rows = [rows[place] for place in sorted(random.Random(0).sample(range(len(rows)), most))]
    with target.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_insurance(target: Path, rows: int = 1338) -> None:
    """Writes the generated table of yearly charges."""
    draw = random.Random(0)
    with target.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["age", "sex", "bmi", "children", "smoker", "region", "charges"])
        for _ in range(rows):
            age, bmi = draw.randint(18, 64), max(16, draw.gauss(30.7, 6.1))
            children, smokes = min(5, int(draw.expovariate(0.9))), draw.random() < SMOKERS
            charges = 1500 + 3.2 * age**2 + 450 * children
            charges += 15000 + (17000 if bmi > 30 else 0) + 300 * (bmi - 25) if smokes else 0
            charges += draw.lognormvariate(0, 1) * 600 + (draw.expovariate(1 / 9000) if draw.random() < RARE else 0)
            sex = draw.choice(["male", "female"])
            region = draw.choice(["southwest", "southeast", "northwest", "northeast"])
            smoker = "yes" if smokes else "no"
            table.writerow([age, sex, f"{bmi:.2f}", children, smoker, region, f"{max(1100, charges):.2f}"])


if __name__ == "__main__":
    folder, sets = Path(sys.argv[1]), Path(sys.argv[2])
    copy(sets / "Ecdat" / "Computers.csv", folder / "computers.csv")
    copy(sets / "ggplot2" / "diamonds.csv", folder / "diamonds.csv", 5000)
    write_insurance(folder / "insurance.csv")
