"""The scores of an ensemble's members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dlcli.score.intervals import clustered, loss_estimate, metric_estimate
from dlcli.score.members import Members
from dlcli.score.outcome import Outcome
from dlcli.spec.training.metrics import Accuracy
from dlcli.tasks import TASKS


def test_intervals_of_members_are_those_of_groups() -> None:
    random, groups = np.random.default_rng(0), np.repeat(np.arange(20), 6).astype(str).astype(object)
    truth = random.integers(0, 2, 20).repeat(6)
    share = np.where(random.random(20) < 0.8, truth[::6], 1 - truth[::6]).repeat(6) * 0.8 + 0.1
    losses = random.exponential(size=20).repeat(6)
    losses[:2] = np.nan  # of examples that the loss ignores
    scores = np.stack([1 - share, share], axis=1)
    outcome = Outcome(TASKS["classification"], "test", list(map(str, range(120))), ("a", "b"), truth, scores, losses=losses)
    grouped, accuracy = replace(outcome, groups=groups), Accuracy(kind="accuracy")
    entries = Members({"first": grouped, "second": grouped}).entries(grouped, [accuracy])["members"]
    estimates = {
        "loss": clustered(loss_estimate(losses[2:]), groups[2:]),
        "accuracy": clustered(metric_estimate(accuracy, truth, scores, outcome.task), groups),
    }
    for entry in entries:
        assert {name: score["interval"] for name, score in entry["metrics"].items()} == {
            name: estimate.interval for name, estimate in estimates.items()
        }
    low, high = estimates["accuracy"].interval or (0, 0)
    plain = metric_estimate(accuracy, truth, scores, outcome.task).interval or (0, 1)
    assert high - low > 1.5 * (plain[1] - plain[0])
