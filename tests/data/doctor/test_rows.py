"""The ids of several splits are one sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainings import write_spec

from dlcli.data.doctor.doctor import open_subject
from dlcli.spec.load import load


def test_ids_of_all_splits_are_indexed_as_a_list_is(tmp_path: Path) -> None:
    subject = open_subject(load(write_spec(tmp_path)).experiment, offline=True, thorough=False)
    ids, expected = subject.rows.ids, [name for examples in subject.splits.distinct.values() for name in examples.ids]
    assert [ids[place] for place in range(-len(expected), len(expected))] == expected * 2
    assert ids[-3:] == expected[-3:]
    assert list(reversed(ids)) == expected[::-1]
    for place in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            ids[place]
