"""Ways to spoil a run folder: files that are not what they should be, and values that no dlcli wrote."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**31, -(2**63), 10**30, 0.5, -0.0, 1e300, "", "x", "\x1b[31mred\x1b[0m", "[red]markup[/]",
    "<script>alert(1)</script>", "a\nerror: forged", "../../../etc/passwd", "$x_$", "\u202egnp.exe", "x" * 5000, [], {},
    [1, [2]], {"a": {"b": 1}}, {"value": None}, {"value": "1"}, ["\x07"], {"\x1b]0;title\x07": 1}, "nan", "1e999", "\ud800",
)  # fmt: skip


def spoil(run: Path, random: Random, outside: Path) -> tuple[str, str, bool]:
    """Spoils one file of a run folder. Returns its name, how, and whether nothing can be read from it any more."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and not path.is_symlink())
    files = [path for path in files if path.suffix in (".json", ".csv", ".yaml", ".keras")]
    path = random.choice(files)
    ways: list[tuple[str, Callable[[Path, Random, Path], None], bool]] = [*WHOLE, *WITHIN.get(path.suffix, []) * 3]
    name, way, unreadable = random.choice(ways)
    way(path, random, outside)
    return path.relative_to(run).as_posix(), name, unreadable


def _garbage(path: Path, random: Random, outside: Path) -> None:
    path.write_bytes(bytes(random.randrange(128, 256) for _ in range(random.randrange(1, 400))))


def _empty(path: Path, random: Random, outside: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path, random: Random, outside: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content))])


def _flip(path: Path, random: Random, outside: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(random.randrange(1, 6)):
        content[random.randrange(len(content))] = random.randrange(256)
    path.write_bytes(bytes(content))


def _folder(path: Path, random: Random, outside: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, random: Random, outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, random: Random, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "secret")


def _dangling(path: Path, random: Random, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "not-there")


def _device(path: Path, random: Random, outside: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _gone(path: Path, random: Random, outside: Path) -> None:
    path.unlink()


def _linked_folder(path: Path, random: Random, outside: Path) -> None:
    """Leads everything that is written into `evaluation` elsewhere."""
    run = next(folder for folder in path.parents if (folder / "status.json").exists() or (folder / "spec.yaml").exists())
    target = run / random.choice(["evaluation", "evaluation/test", "log.txt", "checkpoints", "tensorboard", "lock"])
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.symlink_to(outside / ("folder" if not target.suffix and target.name != "lock" else "secret"))


WHOLE: list[tuple[str, Callable[[Path, Random, Path], None], bool]] = [
    ("garbage", _garbage, True),
    ("empty", _empty, True),
    ("cut", _cut, False),
    ("flipped bytes", _flip, False),
    ("folder", _folder, True),
    ("pipe", _pipe, True),
    ("link to a file outside", _link, True),
    ("link to nothing", _dangling, True),
    ("link to a device", _device, True),
    ("gone", _gone, False),
    ("linked folders", _linked_folder, False),
]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns every place of nested data, the whole first."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def replaced(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Returns nested data with another value at a place; the place itself taken away where the value is `GONE`."""
    if not place:
        return value
    copied = dict(data) if isinstance(data, dict) else list(data)
    if len(place) == 1 and value is GONE:
        del copied[place[0]]
    else:
        copied[place[0]] = replaced(data[place[0]], place[1:], value)
    return copied


GONE = object()


def _value(path: Path, random: Random, outside: Path) -> None:
    data = json.loads(path.read_text())
    for _ in range(random.randrange(1, 3)):
        data = replaced(data, random.choice(places(data)), random.choice(JUNK))
    path.write_text(json.dumps(data))


def _no_key(path: Path, random: Random, outside: Path) -> None:
    data = json.loads(path.read_text())
    inner = [place for place in places(data) if place]
    path.write_text(json.dumps(replaced(data, random.choice(inner), GONE) if inner else None))


def _odd_json(path: Path, random: Random, outside: Path) -> None:
    odd = [
        "[" * 100_000,
        "NaN",
        '{"a": Infinity}',
        "1e999",
        "9" * 5000,
        "[1, 2]",
        '"text"',
        "null",
        '{"a": 1, "a": 2}',
        "\ufeff{}",
    ]
    path.write_text(random.choice(odd))


def _cell(path: Path, random: Random, outside: Path) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text())))
    for _ in range(random.randrange(1, 3)):
        row = random.choice(rows)
        if row:
            row[random.randrange(len(row))] = str(random.choice(JUNK)).encode("utf-8", "replace").decode()
    _write_rows(path, rows)


def _wide(path: Path, random: Random, outside: Path) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text())))
    random.choice(rows).append("more")
    _write_rows(path, rows)


def _other_rows(path: Path, random: Random, outside: Path) -> None:
    rows = list(csv.reader(io.StringIO(path.read_text())))
    _write_rows(
        path, random.choice([rows[1:], rows[:1], rows + rows[1:], [[*row[1:], row[0]] for row in rows], [["x" * 200_000]]])
    )


def _write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _spec_line(path: Path, random: Random, outside: Path) -> None:
    lines = path.read_text().splitlines()
    place = random.randrange(len(lines))
    key = lines[place].partition(":")[0]
    junk = json.dumps(random.choice(JUNK))
    other = [
        f"{key}: {junk}",
        "",
        f"{key}: !!python/object/apply:os.system ['touch {outside}/evil']",
        f"{key}: *a",
        f"- {junk}",
    ]
    path.write_text("\n".join([*lines[:place], random.choice(other), *lines[place + 1 :]]) + "\n")


def _elsewhere(path: Path, random: Random, outside: Path) -> None:
    text = path.read_text()
    source = next((line for line in text.splitlines() if line.strip().startswith("path:")), "path: rows.npz")
    other = random.choice([str(outside / "secret"), "/etc/passwd", "/dev/zero", "/", "~nobody-here/x", "a" * 300, "${HOME}"])
    path.write_text(text.replace(source, f"{source.partition('path:')[0]}path: {other}"))


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _model_config(path: Path, random: Random, outside: Path) -> None:
    members = _members(path)
    config = json.loads(members["config.json"])
    for _ in range(random.randrange(1, 3)):
        config = replaced(config, random.choice(places(config)), random.choice([*JUNK, "Lambda", "os", 3, 4, 8, "relu"]))
    _pack(path, members | {"config.json": json.dumps(config).encode("utf-8", "replace")})


def _model_weights(path: Path, random: Random, outside: Path) -> None:
    members = _members(path)
    weights = bytearray(members["model.weights.h5"])
    for _ in range(random.randrange(1, 30)):
        weights[random.randrange(len(weights))] = random.randrange(256)
    _pack(path, members | {"model.weights.h5": bytes(weights)})


def _model_members(path: Path, random: Random, outside: Path) -> None:
    members = _members(path)
    if random.random() < 0.5:
        del members[random.choice(sorted(members))]
    else:
        members[random.choice(["../evil", "/tmp/evil-of-dlcli-test", "assets/../../evil", "config.json/x", "assets/x"])] = (
            b"evil"
        )
    _pack(path, members)


WITHIN: dict[str, list[tuple[str, Callable[[Path, Random, Path], None], bool]]] = {
    ".json": [("another value", _value, False), ("a key less", _no_key, False), ("odd JSON", _odd_json, True)],
    ".csv": [("another cell", _cell, False), ("a row too wide", _wide, False), ("other rows", _other_rows, False)],
    ".yaml": [("another line", _spec_line, False), ("data elsewhere", _elsewhere, False)],
    ".keras": [
        ("another config", _model_config, False),
        ("other weights", _model_weights, False),
        ("other members", _model_members, False),
    ],
}
