"""Reads what W&B keeps offline: a log of LevelDB's form whose records are W&B's own messages. W&B has no reader of it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 32768, 7
_FULL, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """Yields every record of a `.wandb` file."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), _HEADER, b""
    assert content.startswith(b":W&B")
    while place + _HEADER <= len(content):
        if _BLOCK - place % _BLOCK < _HEADER:
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + _HEADER])
        parts += content[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_FULL, _LAST):
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def summary_of(path: Path) -> dict[str, Any]:
    """Returns what a `.wandb` file tells of a run: id, project, configuration, rows, summary, files and exit code."""
    found: dict[str, Any] = {"config": {}, "rows": [], "summary": {}, "files": [], "exit": None, "preempting": False}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {"id": run.run_id, "project": run.project, "name": run.display_name, "tags": list(run.tags)}
            found["config"] |= {one.key: json.loads(one.value_json) for one in run.config.update}
        elif kind == "history":
            found["rows"].append({_key(one): json.loads(one.value_json) for one in record.history.item})
        elif kind == "summary":
            found["summary"] |= {_key(one): json.loads(one.value_json) for one in record.summary.update}
        elif kind == "files":
            found["files"] += [one.path for one in record.files.files]
        elif kind == "preempting":
            found["preempting"] = True
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)
