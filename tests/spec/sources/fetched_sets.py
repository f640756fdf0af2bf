"""Small sets in scikit-learn's data home, in the files and formats that the installed scikit-learn reads."""

from __future__ import annotations

import gzip
import json
from hashlib import md5
from pathlib import Path
from typing import Any

import joblib
import numpy as np


def write_houses(home: Path, rows: int = 60) -> None:
    """Writes `fetch_california_housing`'s file, whose columns are chosen from others: their order in memory is Fortran's."""
    values = 1 + np.random.default_rng(0).random((rows, 9)) * 9
    home.mkdir(exist_ok=True)
    joblib.dump(values[:, [8, 7, 2, 3, 4, 5, 6, 1, 0]], home / "cal_housing_py3.pkz", compress=6)


def write_forests(home: Path, rows: int = 70) -> None:
    """Writes `fetch_covtype`'s files."""
    (home / "covertype").mkdir(parents=True)
    values = np.random.default_rng(1).integers(0, 9, (rows, 55)).astype("float64")
    values[:, -1] = 1 + np.arange(rows) % 7
    joblib.dump(values[:, :-1], home / "covertype" / "samples_py3", compress=9)
    joblib.dump(values[:, -1].astype("int32"), home / "covertype" / "targets_py3", compress=9)


def write_connections(home: Path, rows: int = 60) -> None:
    """Writes `fetch_kddcup99`'s files of a tenth of the set: cells are Python's numbers and bytes."""
    (home / "kddcup99_10-py3").mkdir(parents=True)
    cells = np.zeros((rows, 42), dtype=object)
    cells[:, 0] = np.arange(rows)
    for place, values in {1: (b"tcp", b"udp"), 2: (b"http", b"smtp"), 3: (b"SF", b"REJ"), 24: (0.5, 0.25)}.items():
        cells[:, place] = [values[row % 2] for row in range(rows)]
    cells[:, 41] = [b"normal." if row % 3 else b"smurf." for row in range(rows)]
    joblib.dump(cells[:, :-1], home / "kddcup99_10-py3" / "samples", compress=3)
    joblib.dump(cells[:, -1], home / "kddcup99_10-py3" / "targets", compress=3)


def write_faces(home: Path) -> None:
    """Writes `fetch_olivetti_faces`'s file."""
    home.mkdir(exist_ok=True)
    faces = np.random.default_rng(2).integers(0, 256, (4096, 400)).astype("uint8")
    faces[0, :2] = 0, 255
    joblib.dump(faces.T.copy(), home / "olivetti_py3.pkz", compress=6)


ARFF = """% Patients of a clinic
@RELATION clinic
@ATTRIBUTE id INTEGER
@ATTRIBUTE age NUMERIC
@ATTRIBUTE 'home town' {Rome,'New York',"it's far"}
@ATTRIBUTE ward STRING
@ATTRIBUTE class {well,ill}
@DATA
"""
CLINIC = (
    ("id", "numeric", "", "is_row_identifier"),
    ("age", "numeric", "", ""),
    ("home town", "nominal", "", ""),
    ("ward", "string", "", ""),
    ("class", "nominal", "is_target", ""),
)


def arff_row(row: int) -> str:
    town = ("Rome", "'New York'", '"it\'s far"')[row % 3]
    age, ward = "?" if row == 4 else f"{20 + row}.5", f"w{row % 5}"
    return f"{10_000_000_000 + row},{age},{town},{ward},{'ill' if row % 2 else 'well'}"


def write_openml(
    home: Path,
    rows: int = 40,
    *,
    text: str = "",
    found_as: str = "data_version/1",
    columns: tuple[tuple[str, ...], ...] = CLINIC,
    **changes: Any,
) -> Path:
    """Writes the answers and the file of `fetch_openml` for a set `clinic` in version 1; returns the path of the table."""
    content = text or ARFF + "\n".join(map(arff_row, range(rows))) + "\n"
    description = {
        "id": "7",
        "name": "clinic",
        "version": "1",
        "format": "ARFF",
        "status": "active",
        "file_id": "99",
        "url": "https://www.openml.org/data/v1/download/99/clinic.arff",
        "md5_checksum": md5(content.encode()).hexdigest(),
        "description": "Patients.",
        **changes,
    }
    features = [
        {
            "index": str(place),
            "name": name,
            "data_type": kind,
            "is_target": str(target == "is_target").lower(),
            "is_ignore": "false",
            "is_row_identifier": str(mark == "is_row_identifier").lower(),
            "number_of_missing_values": "0",
        }
        for place, (name, kind, target, mark) in enumerate(columns)
    ]
    found = {"data": {"dataset": [{"did": 7, "name": "clinic", "version": 1}]}}
    api = home / "openml" / "openml.org" / "api" / "v1" / "json" / "data"
    _write(api / "list" / "data_name" / "clinic" / "limit" / "2" / f"{found_as}.gz", json.dumps(found))
    _write(api / "7.gz", json.dumps({"data_set_description": description}))
    _write(api / "features" / "7.gz", json.dumps({"data_features": {"feature": features}}))
    qualities = {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(float(rows))}]}}
    _write(api / "qualities" / "7.gz", json.dumps(qualities))
    table = home / "openml" / "openml.org" / "data" / "v1" / "download" / "99" / "clinic.arff.gz"
    _write(table, content)
    return table


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))
