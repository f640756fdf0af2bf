"""Each private name of Optuna that `upstream/optuna.py` reads: this test fails once it is gone."""

from __future__ import annotations

import optuna

from dlcli.upstream.optuna import running_trial


def test_a_trial_that_runs_is_continued_from_its_record() -> None:
    study = optuna.create_study()
    study.ask().suggest_float("rate", 0.1, 0.1)
    trial = running_trial(study, study.get_trials()[0])
    assert (trial.number, trial.params) == (0, {"rate": 0.1})
    study.tell(trial, 1.0)
    assert study.best_value == 1.0
