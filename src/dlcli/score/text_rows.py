"""Rows with texts for scikit-learn's simple models: TF-IDF of words and pairs of words, beside the other columns."""

from __future__ import annotations

from typing import Any

from dlcli.runtime.inputs import Inputs
from dlcli.runtime.text_tokens import unicode_words
from dlcli.score.encoded_columns import encoded_columns
from dlcli.spec.data.text import TextSettings


def text_rows(train: Inputs, scored: Inputs, settings: TextSettings) -> tuple[Any, Any]:
    """Returns the training rows and the scored rows as sparse matrices `(n, features)`.

    A text is the TF-IDF of its words and pairs of neighbouring words, with 1 + log of the counts; where texts are split into
    characters, of up to three neighbouring ones. Words and their weights are those of the training rows.

    Raises:
        ValueError: no training text of a column has a word.
    """
    from scipy import sparse

    from dlcli.runtime.inputs import TableColumns

    blocks: list[tuple[Any, Any]] = []
    for name in train.text_columns:
        vectorizer = _vectorizer(settings)
        blocks.append((vectorizer.fit_transform(train.columns[name]), vectorizer.transform(scored.columns[name])))
    others = {name: kind for name, kind in train.column_kinds.items() if not kind.is_text}
    if others:
        tables = [TableColumns({name: inputs.columns[name] for name in others}, others) for inputs in (train, scored)]
        rows = encoded_columns(tables[0], *tables)
        blocks.append((sparse.csr_matrix(rows[0]), sparse.csr_matrix(rows[1])))
    first, second = zip(*blocks, strict=True)
    return sparse.hstack(first).tocsr(), sparse.hstack(second).tocsr()


def _vectorizer(settings: TextSettings) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if settings.split == "character":
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    if settings.split == "unicode_words":
        return TfidfVectorizer(tokenizer=unicode_words, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
