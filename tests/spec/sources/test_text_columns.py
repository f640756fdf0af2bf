"""Columns of texts of Parquet files, TensorFlow Datasets, Hugging Face folders and OpenML's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trainings import losses, trained, write_spec

from dlcli.data.splits import open_splits
from dlcli.errors import DataError, SpecError
from dlcli.spec.data.sources.parquet import Parquet
from dlcli.spec.data.sources.tfds import Tfds
from dlcli.spec.load import load
from spec.sources.opening import opened, request
from spec.sources.test_tfds import tiny, tiny_folder

__all__ = ["tiny", "tiny_folder"]
MODEL = "{kind: sequence, embedding: {kind: trained, output_dim: 4}, layers: [{kind: dense, units: 4}]}"
REVIEWS = ["a lovely film", None, "NA", "  Größe, 電影\n", "dull"] * 40
LABELS = ["good", "bad", "bad", "good", "bad"] * 40


def write(folder: Path, **columns: Any) -> str:
    table = pa.table({"review": pa.array(REVIEWS), "stars": list(range(200)), "label": LABELS, **columns})
    pq.write_table(table, folder / "reviews.parquet", row_group_size=64)
    return str(folder / "reviews.parquet")


def parquet(path: str, **fields: Any) -> Parquet:
    data = {"kind": "parquet", "path": path, "target": "label", "text": ["review"], **fields}
    return Parquet.model_validate(data, context={"folder": "/"})


def test_texts_of_parquet_are_those_of_a_csv_file_and_gaps_are_texts_without_tokens(tmp_path: Path) -> None:
    made = opened(parquet(write(tmp_path), test=0.0, validation=0.0))
    inputs = made.parts["train"].inputs
    assert inputs.text_columns == ["review"]
    assert inputs.columns["review"][:5].tolist() == ["a lovely film", "", "", "Größe, 電影", "dull"]
    assert made.column_facts[0] == {"name": "review", "became": "text", "gaps": 80}
    dictionary = pa.array(REVIEWS).dictionary_encode()
    again = opened(parquet(write(tmp_path, review=dictionary), test=0.0, validation=0.0)).parts["train"].inputs
    assert again.columns["review"].tolist() == inputs.columns["review"].tolist()


@pytest.mark.usefixtures("without_pictures")
def test_a_training_on_texts_of_parquet_stays_in_memory(tmp_path: Path) -> None:
    source = f"{{kind: parquet, path: {write(tmp_path)}, target: label, text: [review], drop: [stars]}}"
    for cache in ("auto", "memory"):
        path = write_spec(tmp_path, source, model=MODEL, name=cache, data=f"cache: {cache}", training="epochs: 2")
        run = trained(path)
        assert len(losses(run)) == 2
        assert {fact["name"]: fact["became"] for fact in run.data()["column_facts"]}["review"] == "text"
    with pytest.raises(SpecError, match=r"data\.cache: `disk` cannot keep columns of texts on the disk; use"):
        load(write_spec(tmp_path, source, model=MODEL, name="disk", data="cache: disk"))


def test_wrong_columns_of_texts_are_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    cases: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({"text": ["revew"]}, ("text", "the file has no column `revew`; did you mean `review`?")),
        ({"drop": ["review"]}, ("text", "`review` is no input: it is the target, dropped, or not in `features`")),
        ({"categorical": ["review"]}, ("categorical", "`review` is listed as text too")),
    ]
    for fields, fault in cases:
        assert fault in list(parquet(path, **fields).faults())


@pytest.mark.usefixtures("tiny")
def test_a_tfds_set_of_texts_is_a_column_of_texts() -> None:
    made = Tfds(kind="tfds", name="tiny_texts")
    train = opened(made).parts["train"]
    assert train.inputs.text_columns == ["text"]
    assert sorted(train.inputs.columns["text"].tolist()) == ["a b", "c"]
    facts = made.facts(request().task)
    assert (facts.columns, facts.texts, facts.classes) == (True, True, ("0", "1"))
    assert list(Tfds(kind="tfds", name="tiny_texts", text=["txt"]).faults()) == [
        ("text", "the set has no column `txt`; did you mean `text`?")
    ]


@pytest.mark.usefixtures("tiny")
def test_columns_of_a_tfds_set_are_texts_where_they_are_listed() -> None:
    inputs = opened(Tfds(kind="tfds", name="tiny_table", text=["town"])).parts["train"].inputs
    assert inputs.text_columns == ["town"]
    assert sorted(inputs.columns["town"].tolist()) == ["", "Köln", "Köln", "Köln"]
    with pytest.raises(DataError, match=r"column `age` has numbers, not texts; take it out of `data\.source\.text`"):
        Tfds(kind="tfds", name="tiny_table", text=["age"]).open(request())


def test_a_model_of_numbers_is_refused_for_texts_of_a_set(tiny_folder: Path, tmp_path: Path) -> None:
    source = f"{{kind: tfds, path: {tiny_folder / 'tiny_texts'}}}"
    with pytest.raises(SpecError, match=r"`model\.kind: mlp` does not read texts; use `model.kind: sequence`"):
        load(write_spec(tmp_path, source, task="binary", name="mlp"))
    loaded = load(write_spec(tmp_path, source, task="binary", model=MODEL, name="sequence"))
    assert open_splits(loaded.experiment).train.inputs.text_columns == ["text"]


def test_strings_of_a_huggingface_folder_are_texts_where_they_are_listed(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `huggingface` is not installed")
    from dlcli.upstream.huggingface import import_datasets
    from spec.sources.test_huggingface import saved, source

    import_datasets()
    content = {"review": ["one text", None, "Größe"], "stars": [1, 2, 3], "label": ["a", "b", "a"]}
    path = saved(tmp_path / "set", train=datasets.Dataset.from_dict(content))
    made = source(path, text=["review"])
    inputs = opened(made).parts["train"].inputs
    assert inputs.text_columns == ["review"]
    assert inputs.columns["review"].tolist() == ["one text", "", "Größe"]
    assert made.facts(request().task).texts
    assert list(source(path, text=["stars"]).faults()) == [("text", "column `stars` does not hold strings")]
    assert list(source(path, text=["revew"]).faults()) == [
        ("text", "the dataset has no column `revew`; did you mean `review`?")
    ]


def test_a_table_of_openml_has_columns_of_texts_where_they_are_listed(tmp_path: Path) -> None:
    from dlcli.spec.data.sources.openml import Openml
    from spec.sources.fetched_sets import write_openml

    write_openml(tmp_path)
    data = {"kind": "openml", "name": "clinic", "version": 1, "data_home": str(tmp_path), "max_categories": 4}
    made = Openml.model_validate({**data, "text": ["ward"]}, context={"folder": "/"})
    inputs = opened(made).parts["train"].inputs
    assert inputs.text_columns == ["ward"]
    assert inputs.columns["ward"][:2].tolist() == ["w0", "w1"]
    with pytest.raises(DataError, match="column `age` has numbers, not texts"):
        Openml.model_validate({**data, "text": ["age"], "drop": ["ward"]}, context={"folder": "/"}).open(request())
