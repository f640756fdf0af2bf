"""Columns of numbers and categories as rows of numbers, for scikit-learn's simple models."""

from __future__ import annotations

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.column_kinds import Encoding
from dlcli.runtime.columns import column_inputs
from dlcli.runtime.engine import keras
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.stream import ordered_batches


def encoded_columns(fitted: Inputs, *tables: Inputs) -> list[Array]:
    """Returns the rows of tables as float32 `(n, features)`, scaled by the constants of the table `fitted`."""
    columns = column_inputs(fitted.table(), fitted.layout, Encoding("standard", before_training=False))
    encode = keras.Model(columns.inputs, columns.features)
    encode.jit_compile = False
    return [
        np.asarray(encode.predict(ordered_batches(table, examples=len(table), batch_size=1024), verbose=0)) for table in tables
    ]
