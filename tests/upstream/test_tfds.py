"""Each workaround of `upstream/tfds.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.upstream.tfds import _parallel_calls, import_tfds, read_features, read_split
from upstream.programs import run

DATA = os.environ.get("DLCLI_TEST_DATA", "")


def test_tfds_tries_ten_times_and_asks_no_cloud_bucket() -> None:
    import_tfds()
    from tensorflow_datasets.core.download import downloader
    from tensorflow_datasets.core.utils import gcs_utils

    assert downloader.MAX_RETRIES == 10
    assert gcs_utils._is_gcs_disabled


def test_a_request_gets_a_time_limit_only_while_a_set_is_prepared() -> None:
    import_tfds()
    import requests
    from tensorflow_datasets.core.download import downloader

    from dlcli.upstream.tfds import _impatient

    patient = requests.Session.request
    with _impatient():
        assert requests.Session.request is not patient
        assert downloader.MAX_RETRIES == 1
    assert requests.Session.request is patient
    assert downloader.MAX_RETRIES == 10


def test_loading_a_builder_by_name_imports_every_set() -> None:
    """Why prepared sets are opened by their folder."""
    program = (
        "import sys; from dlcli.upstream.tfds import import_tfds; tfds = import_tfds(); before = len(sys.modules);"
        "tfds.builder('mnist', data_dir='.'); print(len(sys.modules) - before > 300)"
    )
    assert run(program) == "True"


@pytest.mark.skipif(not DATA, reason="DLCLI_TEST_DATA is not set")
def test_read_split_equals_tfds_own_reading() -> None:
    import tensorflow as tf

    tfds = import_tfds()
    builder = tfds.builder_from_directory(f"{DATA}/tensorflow_datasets/mnist/3.0.1")
    inputs, labels = read_split(builder, "test[:700]")
    whole: Any = builder.as_dataset(split="test[:700]", as_supervised=True, batch_size=-1, shuffle_files=False)
    expected = tf.nest.map_structure(lambda tensor: tensor.numpy(), whole)
    assert inputs.dtype == np.uint8
    assert np.array_equal(inputs, expected[0])
    assert np.array_equal(labels, expected[1])
    assert np.array_equal(read_features(builder, "test[:700]", ["label"])["label"], labels)
    assert [one.shape for one in read_split(builder, "test[:3]", lambda image: image[:5])[0]] == [(5, 28, 1)] * 3


EVIL = "from pathlib import Path\nPath({path!r}).touch()\n"


def _set_with_a_foreign_feature(folder: Path) -> Path:
    """Makes a prepared set whose `features.json` names a class of a module beside it."""
    features = {"type": "evil_module.Feature", "content": {}}
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "evil_module.py").write_text(EVIL.format(path=str(folder / "ran")))
    return folder


def test_a_prepared_set_imports_no_module_of_its_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    features = import_tfds().features.FeatureConnector
    with pytest.raises(DataError, match=r"of the class 'evil_module\.Feature', which is not a class of TFDS"):
        features.from_config(str(_set_with_a_foreign_feature(tmp_path)))
    assert not (tmp_path / "ran").exists()


def test_tfds_itself_imports_the_module_that_a_set_names(tmp_path: Path) -> None:
    _set_with_a_foreign_feature(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from tensorflow_datasets.core.features import FeatureConnector\n"
        f"try: FeatureConnector.from_config({str(tmp_path)!r})\nexcept ValueError: print('imported')"
    )
    assert run(program) == "imported"
    assert (tmp_path / "ran").exists()


def test_features_of_tfds_own_are_found_by_name() -> None:
    tfds = import_tfds()
    name = "tensorflow_datasets.core.features.image_feature.Image"
    assert tfds.features.FeatureConnector.cls_from_name(name) is tfds.features.Image


def test_the_names_of_tfds_sets_are_known_without_importing_it() -> None:
    # In a process of its own: TFDS lists also the sets that other tests define, and those are on no list of ours.
    program = """
import sys
from dlcli.upstream.tfds_names import tfds_names
names, imported = tfds_names(), "tensorflow_datasets" in sys.modules
from dlcli.upstream.tfds import import_tfds
sets = set(import_tfds().list_builders(with_community_datasets=False))
print(imported, len(sets) > 100, sorted(sets - names), len(names) < 500)
"""
    assert run(program) == "False True [] True"


def test_small_examples_are_decoded_many_at_a_time_and_large_ones_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    calls = [_parallel_calls(size) for size in (784, 500_000, 1_000_000, 100_000_000, None)]
    assert calls == [64, 64, 32, 4, 4]
