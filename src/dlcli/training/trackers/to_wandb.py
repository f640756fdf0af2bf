"""A run in Weights & Biases: configuration, a point for each epoch, final scores, pictures, report, files, how it ended."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.runs import RunFolder, layout
from dlcli.spec.base import dump
from dlcli.spec.training.callbacks import WandB
from dlcli.training.trackers.content import files, outcome, scores, tags, values

_TAG = 64
"""Characters of a tag."""


class ToWandB:
    """Uses W&B's own process, which stores what it receives in the run folder and sends it where allowed."""

    def __init__(self, run: RunFolder, spec: WandB) -> None:
        os.environ.setdefault(
            "WANDB_ERROR_REPORTING", "false"
        )  # its error reports are not sent to a server that the spec does not name
        self._run, self._spec = run, spec
        self._wandb_run: Any = None
        self._id = ""

    def begin(self, stored_id: str) -> str:
        """Resumes the run `stored_id`, or starts one; returns its id."""
        import wandb

        if (self._run.trackers_path / "wandb").is_symlink():  # what is stored there would be written elsewhere
            raise DamagedFile(f"{self._run.trackers_path / 'wandb'}: not a folder inside the run")
        self._id = stored_id or secrets.token_hex(4)
        settings = wandb.Settings(
            console="off",
            silent=True,
            init_timeout=15,
            login_timeout=5,
            x_stats_pid=os.getppid(),  # the training's process, not this one
        )
        facts = tags(self._run)
        self._wandb_run = wandb.init(
            project=self._spec.project or self._run.name,
            entity=self._spec.entity,
            id=self._id,
            name=self._run.id,
            mode=self._spec.mode,
            resume="allow" if self._spec.mode == "online" else None,  # offline, the id alone makes it one run
            dir=str(self._run.trackers_path),
            config=dump(self._run.experiment()) | {"dlcli": facts},
            tags=[self._run.experiment().task.name, f"dlcli {facts['dlcli.version']}"[:_TAG]],
            settings=settings,
        )
        self._wandb_run.define_metric("*", step_metric="epoch")
        return self._id

    def take_epochs(self, rows: list[dict[str, str]]) -> None:
        """Logs every number of the rows, at the epoch as step."""
        for row in rows:
            epoch = int(row["epoch"])
            self._wandb_run.log(values(row) | {"epoch": epoch}, step=epoch)

    def end(self, state: str) -> None:
        """Logs the final scores, pictures, report, files and how the run ended."""
        import wandb

        numbers, run = self._wandb_run, self._run
        for split, named in scores(run).items():
            numbers.summary.update({f"{split}/{name}": value for name, value in named.items()})
        numbers.summary.update(outcome(run) | {"state": state})
        shown: dict[str, Any] = {}
        for path, folder in files(run, model=self._spec.model):
            if path.suffix == ".png":
                shown[f"{folder.removeprefix(f'{layout.EVALUATION}/') or 'run'}/{path.stem}"] = wandb.Image(str(path))
            if path.name == layout.REPORT:
                shown["report"] = wandb.Html(path.read_text(encoding="utf-8"), inject=False)
            self._keep(path, folder)
        if shown:
            numbers.log(shown | {"epoch": run.status().epoch})
        if state in ("interrupted", "dead"):
            numbers.mark_preempting()  # so that it is shown as one that may be resumed, not as a failure
        numbers.finish(exit_code=0 if state == "completed" else 1)

    def _keep(self, path: Path, folder: str) -> None:
        """Puts a copy among the files of W&B's run: its own links would lead nowhere once the run folder is moved."""
        place = Path(self._wandb_run.dir) / folder / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        self._wandb_run.save(str(place), base_path=self._wandb_run.dir, policy="end")
