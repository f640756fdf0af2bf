"""A new session of Keras: names start again, and the models of earlier trainings are gone."""

from __future__ import annotations

import gc
import weakref

from dlcli.runtime.engine import keras, new_session


def test_a_new_session_starts_names_again_and_frees_earlier_models() -> None:
    new_session()
    gc.disable()  # only the session itself collects what is left in a cycle
    try:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        assert model.layers[0].name == "dense"
        reference = weakref.ref(model)
        del model
        assert reference() is not None
        new_session()
        assert reference() is None
        assert keras.layers.Dense(1).name == "dense"
    finally:
        gc.enable()
