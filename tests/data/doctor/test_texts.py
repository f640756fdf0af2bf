"""The checks of tables with columns of texts: texts are no identifiers, and their words judge labels."""

from __future__ import annotations

import numpy as np
import pytest
from trainings import write_spec

from dlcli.data.doctor.doctor import Examination, examine, open_subject
from dlcli.spec.load import load


@pytest.fixture(scope="module")
def examination(tmp_path_factory: pytest.TempPathFactory) -> Examination:
    """Of 200 reviews, 40 of which are in a test file; three have the wrong label."""
    folder, random = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    rows = []
    for number in range(200):
        is_good = number % 2 == 0
        words = random.choice(["lovely", "superb", "charming"] if is_good else ["awful", "dull", "tedious"], 3)
        text = f"{' '.join(words)} film number {number} by someone"
        rows.append(f"{text},{random.integers(1, 5)},{int(is_good != (number in (20, 41, 60)))}")
    for name, part in (("train", rows[:160]), ("test", rows[160:])):
        (folder / f"{name}.csv").write_text("\n".join(["review,stars,label", *part]) + "\n", encoding="utf-8")
    source = "{kind: csv, path: train.csv, test: test.csv, target: label, text: [review]}"
    model = "{kind: sequence, layers: [global_average_pooling1d]}"
    return examine(open_subject(load(write_spec(folder, source, task="binary", model=model)).experiment, offline=True))


def test_texts_are_neither_identifiers_nor_categories_of_many_values(examination: Examination) -> None:
    kinds = {issue.kind for issue in examination.issues}
    assert not kinds & {"identifier column", "high-cardinality category", "drift between splits"}
    assert "label errors" in kinds


def test_words_find_wrong_labels(examination: Examination) -> None:
    (issue,) = (issue for issue in examination.issues if issue.kind == "label errors")
    assert {"train/20", "train/41", "train/60"} <= set(issue.examples)
    assert len(issue.examples) <= 5
