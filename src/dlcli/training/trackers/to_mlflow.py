"""A run in MLflow: parameters, a point for each epoch, final scores, files, how it ended."""

from __future__ import annotations

import os
from pathlib import Path
from time import time
from typing import Any

from dlcli.runs import RunFolder
from dlcli.runs.compare import flat
from dlcli.spec.base import dump
from dlcli.spec.training.callbacks import MLflow
from dlcli.training.trackers.content import files, outcome, scores, tags, values

SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a folder of files is refused otherwise since MLflow 3.17
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing on a training is sent to a server that the spec does not name
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds; the training does not wait for it, but its end does
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # every epoch tries again
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""MLflow's settings where the user has none."""
_END = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "dead": "KILLED"}
_LONGEST_KEY = 250
_LONGEST_VALUE = 500
"""Characters of a parameter: MLflow takes 6,000, servers before 2.8 no more than these."""
_AT_ONCE = 100
_METRICS_AT_ONCE = 1000


class ToMLflow:
    """Uses only MLflow's client, which keeps no state of the process."""

    def __init__(self, run: RunFolder, spec: MLflow) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        self._run, self._spec = run, spec
        self._client: Any = None
        self._id, self._unsure = "", False

    def begin(self, stored_id: str) -> str:
        """Resumes the run `stored_id`, or makes one, under the experiment; returns its id."""
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._spec.tracking_uri or self._usual_place())
        self._id = stored_id if stored_id and self._is_active(stored_id) else self._new_run()
        self._unsure = bool(stored_id)
        self._client.update_run(self._id, status="RUNNING")
        self._log_parameters()
        return self._id

    def _usual_place(self) -> str:
        """Returns MLflow's default location; `mlruns` beside the runs folder where that would be a database."""
        return os.environ.get("MLFLOW_TRACKING_URI") or (self._run.path.parents[2] / "mlruns").as_uri()

    def _is_active(self, stored_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_run(stored_id).info.lifecycle_stage) == "active"
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return False
            raise

    def _new_run(self) -> str:
        name = self._spec.experiment or self._run.name
        existing = self._client.get_experiment_by_name(name)
        experiment = existing.experiment_id if existing is not None else self._client.create_experiment(name)
        git = tags(self._run)
        labels = git | {"mlflow.source.type": "LOCAL", "mlflow.source.name": "dlcli"}
        if "git.commit" in git:
            labels["mlflow.source.git.commit"] = git["git.commit"]
        made = self._client.create_run(experiment, run_name=self._run.id, tags=labels)
        return str(made.info.run_id)

    def _log_parameters(self) -> None:
        """Logs every field of the resolved spec; one that has another value since the run was resumed becomes a tag."""
        from mlflow.entities import Param

        logged = self._client.get_run(self._id).data.params
        spec = {key[:_LONGEST_KEY]: _shortened(value) for key, value in flat(dump(self._run.experiment())).items()}
        new = [Param(key, value) for key, value in spec.items() if key not in logged]
        for start in range(0, len(new), _AT_ONCE):
            self._client.log_batch(self._id, params=new[start : start + _AT_ONCE], synchronous=True)
        for key, value in spec.items():
            if logged.get(key, value) != value:  # MLflow's parameters are written once
                self._client.set_tag(self._id, f"resumed.{key}"[:_LONGEST_KEY], value)

    def take_epochs(self, rows: list[dict[str, str]]) -> None:
        """Logs every number of the rows, at the epoch as step."""
        from mlflow.entities import Metric

        now = int(1000 * time())
        points = [Metric(name, value, now, int(row["epoch"])) for row in rows for name, value in values(row).items()]
        if self._unsure:
            steps = {name: self._steps(name) for name in {point.key for point in points}}
            points = [point for point in points if point.step not in steps[point.key]]
        self._unsure = True  # until it has taken them: of a call that fails some points may be there
        for start in range(0, len(points), _METRICS_AT_ONCE):
            self._client.log_batch(self._id, metrics=points[start : start + _METRICS_AT_ONCE], synchronous=True)
        self._unsure = False

    def _steps(self, name: str) -> set[int]:
        return {point.step for point in self._client.get_metric_history(self._id, name)}

    def end(self, state: str) -> None:
        """Logs the final scores, files and how the run ended."""
        from mlflow.entities import Metric, RunTag

        now, epoch = int(1000 * time()), self._run.status().best_epoch
        values = [(f"{split}.{name}", value) for split, named in scores(self._run).items() for name, value in named.items()]
        facts = [RunTag(f"dlcli.{name}", str(value)[:_LONGEST_VALUE]) for name, value in outcome(self._run).items()]
        points = [Metric(name, value, now, epoch) for name, value in values]
        self._client.log_batch(self._id, metrics=points, tags=facts, synchronous=True)
        for path, folder in files(self._run, model=self._spec.model):
            self._client.log_artifact(self._id, str(path), folder or None)
        self._client.set_terminated(self._id, _END[state])


def _shortened(value: Any) -> str:
    text = str(Path(value)) if isinstance(value, Path) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
