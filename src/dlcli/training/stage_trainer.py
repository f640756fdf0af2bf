"""Training in stages: for each what learns, its epochs, and why they ended."""

from __future__ import annotations

from contextlib import nullcontext
from math import isfinite, prod
from typing import Any

from dlcli.errors import Interrupted, RunFailed
from dlcli.models.blocks import plan_lines
from dlcli.models.penalties import penalties
from dlcli.models.selection import Plan, plan_stage
from dlcli.runs.scored_splits import score_text
from dlcli.runtime.checkpoint import every_variable
from dlcli.runtime.data_loss import with_data_loss
from dlcli.runtime.learner import has_own_step
from dlcli.runtime.loop import run_epochs
from dlcli.runtime.spread import losses_of_workers
from dlcli.runtime.stream import TrainingStream, data_errors
from dlcli.spec.training.metrics import LAST_EPOCH
from dlcli.training.assemble import StageInputs, compile_stage, scores_of, stage_inputs_of, stream_of, validation_of
from dlcli.training.checkpoints import Checkpoints, StageState
from dlcli.training.divergence import looked_back, words_of_divergence
from dlcli.training.later_imports import LaterImports
from dlcli.training.profile import StepProfile
from dlcli.training.proof import Proof
from dlcli.training.recorder import Best, Diverged, Record, Recorder
from dlcli.training.setup import TrainingSetup
from dlcli.training.speed import SpeedWatch, facts_of_stage
from dlcli.training.stage_callbacks import averaging, callbacks_of, without_averaging
from dlcli.training.unfreezing import can_be_compared, keep_answers, verdict

_SMALL = 4_000_000
"""Most numbers in the variables of a model whose best values are held in memory until saving them has paid off."""


def _all_variables(whole: Any, learner: Any, plan: Plan) -> list[Any]:
    """Returns all variables of a model and of the one that is trained, also those of a Hub module that Keras does not track."""
    variables = (*every_variable(whole, learner), *plan.moving, *plan.still)
    return list({id(variable): variable for variable in variables}.values())


class StageTrainer:
    """Trains a model step by step, in the stages of its experiment, from the first or from a checkpoint on."""

    def __init__(
        self, setup: TrainingSetup, record: Record, checkpoints: Checkpoints, profile: StepProfile | None = None
    ) -> None:
        self._setup, self._record, self._checkpoints, self._profile = setup, record, checkpoints, profile
        self._stages = setup.experiment.stages

    def train(self, *, score_start: bool) -> None:
        """Trains all remaining stages; with `score_start` the model that it starts from may be its best."""
        for stage in self._stages:  # an impossible later stage is reported before the first one takes hours
            plan_stage(self._setup.network, stage)
        for index in range(self._checkpoints.stage, len(self._stages)):
            self._train_stage(index, score_start=score_start and index == 0)
            if self._setup.in_stages:
                self._record.run.write_stages(self._checkpoints.stages)
        self._tell_end()

    def _train_stage(self, index: int, *, score_start: bool) -> None:
        """Runs one stage, or its rest after a checkpoint, and adds its entry of `stages.json` to the checkpoints'."""
        setup, request = self._setup, self._checkpoints.request
        state = self._begin(index)
        if score_start:
            self._score_start(state)
        request.waits = True
        try:
            self._run_epochs(state)
        except Diverged as error:
            state.recorder.save_unsaved()  # the message names the model that is kept
            raise RunFailed(self._why_diverged(state, error)) from None
        finally:
            state.recorder.finish(restore=index + 1 == len(self._stages) or self._stages[index + 1].start == "best")
            request.waits = False
        if request.stop:  # it came after the last position where the stage could be interrupted
            raise Interrupted(f"{request.stop} after epoch {len(self._record.rows)}")
        if can_be_compared(setup, self._record):
            state.recorder.with_best(lambda: keep_answers(setup, self._record.run, index))
        self._checkpoints.stages.append(self._entry(state))

    def _begin(self, index: int) -> StageState:
        """Selects what a stage trains, compiles its model, and returns all that changes while it runs."""
        setup, record, stage = self._setup, self._record, self._stages[index]
        plan = plan_stage(setup.network, stage)
        record.run.update_status(reason="")
        for line in plan_lines(plan) if setup.in_stages else []:
            setup.log(line)
        inputs = stage_inputs_of(setup, stage, record.run.features_path)
        stream = stream_of(setup, inputs)
        compile_stage(setup, plan, inputs, stream)
        validation, scores = validation_of(setup, inputs), scores_of(setup, inputs)
        first = sum(row["stage"] != stage.name for row in record.rows)
        return StageState(
            index=index,
            first=first,
            plan=plan,
            inputs=inputs,
            stream=stream,
            validation=validation,
            scores=scores,
            recorder=self._recorder(index, plan, inputs, stream),
            proof=Proof(plan, stream, inputs.model),
            callbacks=callbacks_of(setup, record, stage, first),
        )

    def _recorder(self, index: int, plan: Plan, inputs: StageInputs, stream: TrainingStream) -> Recorder:
        """Returns the recorder of a stage; it keeps the best weights in memory where they are needed later.

        Of a small model it holds all variables until they are saved: saving takes longer than its epochs.
        """
        keep = index + 1 < len(self._stages) or inputs.of_features or can_be_compared(self._setup, self._record)
        variables = _all_variables(self._record.whole, inputs.model, plan)
        is_small = sum(prod(variable.shape) for variable in variables) <= _SMALL
        return Recorder(
            self._record,
            stream,
            stage=plan.stage.name,
            batch_size=self._setup.batch_size,
            held=plan.moving if keep else variables,
            keep=keep,
            lazy=inputs.of_features or (is_small and not keep and self._setup.spread is None),
        )

    def _run_epochs(self, state: StageState) -> None:
        """Runs the remaining epochs of a stage.

        Raises:
            Diverged: the loss became infinite or no number.
            Interrupted: a signal has stopped it, or a worker is lost.
        """
        pauses = self._checkpoints.pauses(state)
        for scores in state.scores:
            scores.pauses = pauses
        # Averages of weights come first, the spec's own callbacks last.
        callbacks = [self._speed_watch(state), *averaging(state.callbacks), *state.scores]
        callbacks += [state.proof] if self._setup.in_stages else []
        callbacks += [state.recorder, *without_averaging(state.callbacks), LaterImports()]
        profile = self._profile if self._profile is not None and self._profile.concerns(state.first, state.last) else None
        callbacks = callbacks if profile is None else [profile, *callbacks]
        watching = nullcontext() if profile is None else profile.watching(state.model)
        with losses_of_workers(self._setup.spread), data_errors(), watching:
            run_epochs(
                state.model,
                state.stream,
                state.validation,
                callbacks,
                pauses,
                start=self._checkpoints.start(state.index, state.first),
                last=state.last,
                adapt=not self._setup.experiment.hardware.steps_per_execution,
                shared=self._setup.spread is not None,
            )

    def _speed_watch(self, state: StageState) -> SpeedWatch:
        """Returns the callback that measures what limits the speed of a stage."""
        setup, inputs = self._setup, state.inputs
        facts = facts_of_stage(
            state.plan.stage.name,
            inputs.train,
            inputs.augment,
            setup.batch_size,
            state.stream.steps,
            several=len(self._stages) > 1,
        )
        return SpeedWatch(state.stream, facts, self._record.run, setup.log, last=state.last)

    def _why_diverged(self, state: StageState, error: Diverged) -> str:
        """Returns the message of a divergence, for which the steps before it are repeated where possible."""
        setup, model = self._setup, state.model
        rate, norms = float(model.optimizer.learning_rate), list[float]()
        compile_stage(setup, state.plan, state.inputs, state.stream)
        repeatable = not averaging(state.callbacks) and setup.spread is None and not has_own_step(model)
        start = self._checkpoints.rewind(state) if repeatable else None
        if start is not None:
            error, norms = looked_back(model, state.stream, start, error)
        return words_of_divergence(error, norms, rate, self._record.best)

    def _entry(self, state: StageState) -> dict[str, Any]:
        """Returns the entry of `stages.json` for a stage that has ended."""
        stage, run, rows, proof = state.plan.stage, self._record.run, self._record.rows, state.proof
        last = state.first + (stage.epochs or 0)
        built = without_averaging(state.callbacks)[: len(stage.callbacks or [])]
        reasons = [spec.reason(callback) for spec, callback in zip(stage.callbacks or [], built, strict=True)]
        reason = next(filter(None, reasons), "")
        if reason and len(rows) < last:
            run.update_status(reason=reason)
            self._setup.log(f"{reason}; stopped after epoch {len(rows)} of {last}")
        if proof.result:
            checked = proof.result
            notes = (("zero_gradient", "have zero gradients"), ("tiny_step", "have updates below float32 precision"))
            dead = "".join(f"; {len(checked[name])} {words}" for name, words in notes if checked[name])
            self._setup.log(
                f"verified after step {checked['step']}: {checked['moved']} trainable variables changed{dead},"
                f" {checked['still']} frozen ones did not"
            )
        best = state.recorder.stage_best
        return {
            "name": stage.name,
            "train": stage.train,
            "batch_norm": stage.batch_norm,
            "trainable": state.plan.trainable,
            "frozen": state.plan.frozen,
            "blocks": [vars(row) for row in state.plan.rows],
            "proof": proof.result,
            "epochs": sum(row["stage"] == stage.name for row in rows),
            "monitor": self._record.monitor,
            "best_epoch": best.epoch,
            "best_value": best.value,
            "reason": reason,
        }

    def _score_start(self, state: StageState) -> None:
        """Keeps the model that the run starts from as its best, until an epoch is better."""
        monitor = self._record.monitor
        if state.validation is None or not monitor.startswith("val_"):
            self._setup.log(
                f"start: not scored, since {monitor} is not a validation score; the best epoch is kept even if it is worse"
            )
            return
        scored = with_data_loss(state.model.evaluate(state.validation.dataset, return_dict=True, verbose=0))
        logs = {f"val_{name}": value for name, value in scored.items()}
        for scores in state.scores:
            scores.on_epoch_end(0, logs)
        value = float(logs[monitor]) - (
            penalties(state.model) if self._setup.revision == 1 and monitor.endswith("loss") else 0.0
        )
        if not isfinite(value):
            return
        self._record.save_best(Best(0, value, "start"))
        self._setup.log(f"start: {monitor} {score_text(value)}; this model is kept unless an epoch is better")

    def _tell_end(self) -> None:
        """Logs which epoch is the best, and whether later stages gave a better model; fails where there is none."""
        record, stages = self._record, self._checkpoints.stages
        monitor, best = record.monitor, record.best
        if best.value is None:
            raise RunFailed(f"{monitor} was NaN in every epoch, so there is no best epoch")
        if monitor == LAST_EPOCH:
            self._setup.log(f"the model of the last epoch, {best.epoch}, is kept")
        elif best.epoch == 0:
            self._setup.log(
                f"no epoch was better than the start ({monitor} {score_text(best.value)}); the initial model is kept"
            )
        else:
            of_stage = f" of stage {best.stage}" if len(stages) > 1 else ""
            self._setup.log(f"best epoch: {best.epoch}{of_stage} ({monitor} {score_text(best.value)}); its model is kept")
        if len(stages) > 1 and best.epoch and any(stage["train"] != "all" for stage in stages):
            stages[-1]["compared"] = verdict(self._setup, record, stages)
            record.run.write_stages(stages)
            self._setup.log(stages[-1]["compared"])
