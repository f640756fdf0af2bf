"""Measures the memory of trainings on many files and rows: python benchmarks/large_data.py [PHOTOS] [--limit 2].

PHOTOS is a folder of class folders; without it, tables alone are measured. Its photos become 5,000 and 50,000 files (hard
links), on which a small network is trained for one epoch with every file decoded in each epoch (`data.cache: none`), and then
with a file of pixels on the disk (`disk`). The Parquet tables have 8 columns of numbers and one of texts, and are trained on
with each of `--caches`. With `--limit 2` (root, control groups of version 1) every training runs in a control group of 2 GiB.
The peak is that of the memory that is no copy of a file (RssAnon) of the training and its helper process, sampled every 0.1 s.
The rate is that of the training rows in the last epoch (`history.csv`).
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import DLCLI, heading, markdown

IMAGES = """
name: photos
task: classification
data:
  source: {kind: folder, path: PATH}
  image: {size: [64, 64]}
  split: {validation: 0.05, test: 0.05}
  cache: CACHE
model:
  kind: cnn
  layers: [{kind: conv2d, filters: 8, kernel_size: 3, strides: 4, activation: relu}, global_average_pooling2d]
training: {epochs: 1}
"""
ROWS = """
name: rows
task: binary
data:
  source: {kind: parquet, path: PATH, target: y, validation: 0.02, test: 0.02}
  batch_size: 1024
  cache: CACHE
model: {kind: mlp, units: [16]}
training: {epochs: EPOCHS}
"""
_GROUP = 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains on few and many files and rows, and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?", help="folder of class folders; without it, tables alone")
    parser.add_argument("--largest", type=int, default=50_000, help="most files (default 50,000)")
    parser.add_argument("--rows", default="500000,5000000", help="numbers of rows (default 500000,5000000)")
    parser.add_argument("--caches", default="disk,auto", help="`data.cache` of the tables (default disk,auto)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs on the tables (default 1)")
    parser.add_argument(
        "--folder", type=Path, help="where the tables are written (default: beside PHOTOS, or the current folder)"
    )
    parser.add_argument("--limit", type=float, default=0, help="GiB of the control group of a training (default: none)")
    options = parser.parse_args(arguments)
    print(heading(" ".join(["python benchmarks/large_data.py", *(arguments or sys.argv[1:])])))
    rows = [["data", "wall, s", "peak, MB", "rows/s"]]
    place = options.folder or (options.photos.absolute().parent if options.photos else Path.cwd())
    with tempfile.TemporaryDirectory(dir=place) as name:  # hard links need the same disk
        folder = Path(name)
        for count in (options.largest // 10, options.largest) if options.photos else ():
            link_photos(options.photos, folder / str(count), count)
            for cache in ("none", "disk"):
                text = IMAGES.replace("PATH", str(folder / str(count))).replace("CACHE", cache)
                rows.append([f"{count:,} files, cache: {cache}", *measured(folder, text, options.limit), ""])
        for count in map(int, options.rows.split(",")):
            table = folder / f"{count}.parquet"
            write_rows(table, count)
            for cache in options.caches.split(","):
                text = ROWS.replace("PATH", str(table)).replace("CACHE", cache).replace("EPOCHS", str(options.epochs))
                cells = measured(folder, text, options.limit)
                rows.append([f"{count:,} rows, cache: {cache}", *cells, f"{rate(folder):,.0f}"])
            table.unlink()
    print("\n".join(["", *markdown(rows)]))
    return 0


def link_photos(photos: Path, folder: Path, count: int) -> None:
    """Makes a folder of `count` hard links to the photos below class folders."""
    files = sorted((path for path in photos.glob("*/*") if path.is_file()), key=lambda path: path.name)
    for number, path in zip(range(count), cycle(files), strict=False):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / f"{number}{path.suffix}").hardlink_to(path)


def write_rows(path: Path, count: int) -> None:
    """Writes a table of 8 numbers, a town and a class that depends on them."""
    random, names = np.random.default_rng(0), [f"x{number}" for number in range(8)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("town", pa.string()), ("y", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, _GROUP):
            rows = min(_GROUP, count - start)
            x, town = random.normal(size=(rows, 8)).astype("float32"), random.integers(0, 12, rows)
            y = x[:, 0] + 0.5 * x[:, 1] * x[:, 2] + 0.1 * town + 0.5 * random.normal(size=rows) > 0.5
            texts = np.array([f"town {number}" for number in range(12)])[town]
            columns = [*(pa.array(column) for column in x.T), pa.array(texts), pa.array(np.where(y, "yes", "no"))]
            writer.write_table(pa.table(columns, schema=schema))


def rate(folder: Path) -> float:
    """Returns the training rows for each second of the last epoch of the latest run."""
    history = max((folder / "runs").glob("rows/*/history.csv"), key=lambda path: path.stat().st_mtime)
    with history.open(encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["examples_per_second"])


def measured(folder: Path, text: str, limit: float) -> list[str]:
    """Trains a spec, and returns the seconds and the peak of the memory in MB."""
    spec = folder / "spec.yaml"
    spec.write_text(text, encoding="utf-8")
    started, peak = time.time(), 0.0
    with limited(limit) as enter, (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([*DLCLI, "train", str(spec)], stdout=log, stderr=log, cwd=folder, preexec_fn=enter)
        while process.poll() is None:
            peak = max(peak, anonymous(psutil.Process(process.pid)))
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{text}\nended with {process.returncode}:\n{(folder / 'log.txt').read_text()[-3000:]}")
    row = [f"{time.time() - started:,.0f}", f"{peak:,.0f}"]
    print(f"{text.split('path: ')[1].split(',')[0]}: {' s, '.join(row)} MB", file=sys.stderr)
    return row


def anonymous(process: psutil.Process) -> float:
    """Returns the MB of a process and its children that are no copies of files."""
    total = 0
    with suppress(psutil.Error, OSError):
        for member in (process, *process.children(recursive=True)):
            lines = Path(f"/proc/{member.pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total / 1000


@contextmanager
def limited(limit: float) -> Iterator[Callable[[], object] | None]:
    """Yields a function that puts its process into a control group of `limit` GiB; None without a limit."""
    if not limit:
        yield None
        return
    group = Path(f"/sys/fs/cgroup/memory/dlcli-{os.getpid()}")
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(int(limit * 2**30)))
    try:
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        with suppress(OSError):  # the helper process is still ending
            group.rmdir()


if __name__ == "__main__":
    sys.exit(main())
