"""The specs that ship with dlcli: `configs/` of the repository, which `dlcli/shipped` links to and a wheel copies."""

from __future__ import annotations

from pathlib import Path

import dlcli


def shipped() -> dict[str, Path]:
    """Returns every shipped spec by its name."""
    folder = Path(dlcli.__file__).parent / "shipped"
    return {path.stem: path for path in sorted(folder.rglob("*.yaml"))}


def purpose(path: Path) -> str:
    """Returns what a shipped spec is for: the first sentence of its head comment, or its name, task and model."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and text and not text.startswith("yaml-language-server"):
            return text.removeprefix("Purpose:").strip()
        if not line.startswith("#") and line.strip():
            break
    from dlcli.spec.load import load_resolved

    experiment = load_resolved(path)
    return f"{experiment.task}, {experiment.model.kind}"
