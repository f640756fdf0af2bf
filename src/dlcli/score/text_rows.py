"""Rows with texts for scikit-learn's simple models: TF-IDF of words and pairs of words, beside the other columns."""

from __future__ import annotations

from typing import Any

from dlcli.runtime.column_kinds import Encoding
from dlcli.runtime.columns import column_inputs
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.stream import ordered_batches
from dlcli.spec.data.text import TextSettings


def has_texts(inputs: Inputs) -> bool:
    """Whether some columns are texts."""
    return any(kind.is_text for kind in inputs.column_kinds.values())


def text_rows(train: Inputs, scored: Inputs, settings: TextSettings) -> tuple[Any, Any]:
    """Returns the training rows and the scored rows as sparse matrices `(n, features)`.

    A text is the TF-IDF of its words and pairs of neighbouring words, with 1 + log of the counts; where texts are split into
    characters, of up to three neighbouring ones. Words and their weights are those of the training rows.

    Raises:
        ValueError: no training text of a column has a word.
    """
    from scipy import sparse

    blocks: list[tuple[Any, Any]] = []
    for name, kind in train.column_kinds.items():
        if kind.is_text:
            vectorizer = _vectorizer(settings)
            blocks.append((vectorizer.fit_transform(train.columns[name]), vectorizer.transform(scored.columns[name])))
    others = {name: kind for name, kind in train.column_kinds.items() if not kind.is_text}
    if others:
        blocks.append(_other_columns(train, scored, list(others)))
    first, second = zip(*blocks, strict=True)
    return sparse.hstack(first).tocsr(), sparse.hstack(second).tocsr()


def _vectorizer(settings: TextSettings) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if settings.split == "character":
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")


def _other_columns(train: Inputs, scored: Inputs, names: list[str]) -> tuple[Any, Any]:
    from scipy import sparse

    from dlcli.runtime.engine import keras
    from dlcli.runtime.inputs import TableColumns

    kinds = {name: train.column_kinds[name] for name in names}
    tables = [TableColumns({name: inputs.columns[name] for name in names}, kinds) for inputs in (train, scored)]
    columns = column_inputs(tables[0].columns, tables[0].layout, Encoding("standard", before_training=False))
    encode = keras.Model(columns.inputs, columns.features)
    encode.jit_compile = False
    rows = [encode.predict(ordered_batches(table, examples=len(table), batch_size=1024), verbose=0) for table in tables]
    return sparse.csr_matrix(rows[0]), sparse.csr_matrix(rows[1])
