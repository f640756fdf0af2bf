"""Run -> a folder for use without dlcli: written, loaded by its own runtime, compared, and deleted if it does not agree."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.batches import prediction_batch, prediction_batches
from dlcli.data.open_run import open_run
from dlcli.data.splits import Splits
from dlcli.errors import DamagedFile, RunFailed, UsageError
from dlcli.export import readme, runtimes
from dlcli.export.agreement import MOST_LOST, Agreement, ComparedExamples, agreement
from dlcli.export.deployed import Original, in_float32, original
from dlcli.export.formats import FILES, Format, Quantize, write_keras, write_onnx, write_saved_model, write_tflite
from dlcli.runs import RunFolder, layout
from dlcli.runs.files import read_json, replacing_folder, write_json, write_text
from dlcli.runs.folder import now
from dlcli.runs.scored_splits import title_of
from dlcli.runtime.inputs import Inputs
from dlcli.score.evaluate import predictions
from dlcli.spec.data.sources.npz import Npz
from dlcli.spec.experiment import Experiment, Hardware

MOST_COMPARED = 500
MOST_REPRESENTATIVE = 200
"""Examples that show the range of activations; TensorFlow's guide recommends a few hundred."""
_VERSIONS: dict[Format, tuple[str, ...]] = {
    "keras": ("keras", "tensorflow"),
    "saved_model": ("tensorflow",),
    "tflite": ("tensorflow", "ai-edge-litert"),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
}


@dataclass(frozen=True)
class Exported:
    """A finished export that agrees with the model."""

    path: Path
    agreement: Agreement


def export(run: RunFolder, form: Format, *, quantize: Quantize = "", to: Path | None = None, offline: bool = False) -> Exported:
    """Writes a run's model in another format, with all the files that its use needs, and compares it with the original.

    Args:
        run: the run.
        form: the format.
        quantize: for `tflite`: `int8` or `float16`.
        to: the folder to create; by default `exports/<format>[-<quantize>]` in the run's folder.
        offline: whether nothing may be fetched.

    Raises:
        UsageError: something else is in the folder's place, or the format does not support the model.
        RunFailed: the model cannot be converted, or the export does not agree with it.
    """
    target = to or run.exports_path / (f"{form}-{quantize}" if quantize else form)
    refuse_target(target, replace=to is None)
    with (
        open_run(run, "export", offline=offline, hardware=_as_other_runtimes) as opened,
        tempfile.TemporaryDirectory() as folder,
    ):
        copy = Path(shutil.copyfile(_model_file(run), os.path.join(folder, layout.MODEL)))
        source = original(run, copy)
        _refuse_misfit(source, form, quantize)
        splits = opened.splits
        if to is None:
            run.exports_path.mkdir(exist_ok=True)
        with replacing_folder(target) as temporary_folder:
            comparison = _write(source, opened.experiment, splits, run, temporary_folder, form, quantize, Path(folder))
    return Exported(target, comparison)


def _as_other_runtimes(hardware: Hardware) -> Hardware:
    """Returns the CPU, on which the other runtimes compute too: a GPU rounds float32 at the third digit."""
    return hardware.model_copy(update={"device": "cpu", "precision": "float32"})


def refuse_target(target: Path, *, replace: bool) -> None:
    """Checks that creating a folder loses nothing: there is none, or it is an unchanged export of dlcli.

    Raises:
        UsageError: something else is there.
    """
    if not os.path.lexists(target):
        if not replace and not target.parent.is_dir():
            raise UsageError(f"--to {target}: there is no folder {target.parent}")
        return
    if not replace:
        raise UsageError(f"--to {target}: this folder exists")
    try:
        recorded = read_json(target / layout.EXPORT)["files"]
        hashes = _checksums(target)
    except (DamagedFile, KeyError, TypeError, OSError):
        raise UsageError(f"{target} is not an export of dlcli: move it, or set another folder with --to") from None
    foreign = sorted(name for name in hashes if not isinstance(recorded, dict) or hashes[name] != recorded.get(name))
    if foreign:
        raise UsageError(f"{target} contains {foreign[0]}, which dlcli did not write: move it, or set another folder with --to")


def _checksums(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below a folder by its relative path, except `export.json`.

    The bytecode of `image_reader.py` and `tokenizer.py`, which Python writes when `example.py` runs, is ignored.
    """
    programs = (layout.IMAGE_READER, layout.TOKENIZER)

    def is_bytecode(path: Path) -> bool:
        return any(path.match(f"__pycache__/{Path(program).stem}.*.pyc") for program in programs)

    files = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or (path.is_file() and not is_bytecode(path)))
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name != layout.EXPORT}


def _model_file(run: RunFolder) -> Path:
    if not run.model_path.is_file():
        raise DamagedFile(f"{run.model_path}: not a file")
    return run.model_path


def _refuse_misfit(source: Original, form: Format, quantize: Quantize) -> None:
    if form == "keras" and source.saved_layers and not source.saved_layers.requirements:
        raise UsageError(
            f"--format keras: the model contains {source.saved_layers.noun}, which needs {source.saved_layers.package}'s layer;"
            " --format saved_model needs TensorFlow alone"
        )
    if form in ("tflite", "onnx") and source.free_text:
        columns = ", ".join(f"`{name}`" for name in source.free_text)
        raise UsageError(
            f"--format {form}: the format has no operation for the text of column {columns}; --format saved_model takes it"
        )
    if quantize == "int8" and source.model_inputs.columns:
        raise UsageError(
            "--quantize int8 is not possible for tables: columns would share 256 levels, without missing values; use float16"
        )


def _write(
    source: Original,
    experiment: Experiment,
    splits: Splits,
    run: RunFolder,
    export_folder: Path,
    form: Format,
    quantize: Quantize,
    folder: Path,
) -> Agreement:
    """Writes all files of an export and returns its agreement.

    Raises:
        RunFailed: the export does not agree.
    """
    converted = source.model if form in ("keras", "saved_model") else in_float32(source, folder)
    labels, path = export_folder / layout.LABELS, export_folder / FILES[form]
    readme.write_labels(labels, source.classes)
    if form in ("tflite", "onnx"):
        readme.write_tokenizer(export_folder, source.tokenizers)
    if form == "keras":
        write_keras(source, path)
    elif form == "saved_model":
        write_saved_model(source, path, labels, deep=experiment.data.image.is_deep)
    elif form == "onnx":
        write_onnx(source, converted, path)
    else:
        write_tflite(source, converted, path, quantize, _representative(splits))
        if source.lookups:
            readme.write_categories(export_folder / layout.CATEGORIES, source.vocabularies)
    comparison = _compare(source, converted, experiment, splits, path, form, quantize)
    if not comparison.agrees:
        raise RunFailed(
            f"the export does not agree with the run's model and was deleted: {comparison.words}; {_limit(comparison)}"
        )
    image = experiment.data.image
    row = readme.example_row(splits.train.inputs)
    source_settings = experiment.data.source
    if source.shared:
        readme.write_shared_columns(export_folder / layout.SHARED_COLUMNS, source.shared, row)
    array_name = source_settings.features if isinstance(source_settings, Npz) else "x"
    write_text(export_folder / layout.EXAMPLE_PROGRAM, readme.example(source, form, image, row, array_name))
    if source.model_inputs.kind == "images":
        readme.write_image_reader(export_folder)
    write_text(export_folder / layout.README, readme.readme(source, form, quantize, run, comparison, image))
    write_json(export_folder / layout.EXPORT, _export_record(source, run, export_folder, form, quantize, comparison))
    return comparison


def _limit(comparison: Agreement) -> str:
    judge = comparison.judged_as
    if not judge:
        return f"at most {comparison.limit:.2g} is allowed"
    hint = "; --quantize float16 is closer" if judge == "int8" else ""
    if comparison.same_decisions is None:
        limit = f"the limit for {judge} is {100 * comparison.limit:.2g} %{hint}"
        return f"{100 * comparison.difference:.2g} % of the targets' spread; {limit}"
    most_lost = f"{100 * MOST_LOST[judge]:.2g} points of accuracy"
    return f"the limit for {judge} is {100 * comparison.limit:.2g} % different decisions and a loss of {most_lost}{hint}"


def _representative(splits: Splits) -> Callable[[], Iterator[Array]]:
    """Returns a function that yields examples of the training split one by one, at even distances."""
    examples = splits.train
    sample = examples.take(_even_indices(len(examples), MOST_REPRESENTATIVE)).inputs

    def each_example() -> Iterator[Array]:
        for place in range(min(len(examples), MOST_REPRESENTATIVE)):
            at = np.array([place])
            yield sample.read(at).astype("float32")

    return each_example


def _even_indices(count: int, most: int) -> Array:
    """Returns indices at even distances over a split: a folder's examples are sorted by class."""
    return np.linspace(0, count - 1, min(count, most)).round().astype("int64")


def _compare(
    source: Original, converted: Any, experiment: Experiment, splits: Splits, path: Path, form: Format, quantize: Quantize
) -> Agreement:
    """Loads an export with its own runtime and compares its answers with the original's."""
    split = splits.scored
    examples = splits[split].take(_even_indices(len(splits[split]), MOST_COMPARED))

    def scores(model: Any) -> Array:
        return predictions(model, prediction_batches(examples.inputs, experiment, len(examples)), experiment)

    original_scores = scores(source.model)
    title = title_of(split, shared=split == "test" and splits.test_is_validation)
    compared_examples = ComparedExamples(
        title, examples.targets, original_scores, original_scores if converted is source.model else scores(converted)
    )
    batches = list(_batches(examples.inputs, prediction_batch(experiment), deep=experiment.data.image.is_deep))
    output = source.output_name
    if form == "keras":
        answers = runtimes.answers_of_plain_keras(path, batches, source.packages(form))
    else:
        answer = {
            "saved_model": lambda: runtimes.saved_model(path, output, source.shared),
            "tflite": lambda: runtimes.litert(path, output, source.vocabularies),
            "onnx": lambda: runtimes.onnx_runtime(path, output),
        }[form]()
        answers = np.concatenate([answer(batch) for batch in batches])
    answers = source.task.output.scores(answers)
    metric = next(iter(experiment.training.metrics or []), None)
    spread = splits.train.targets.std(axis=0, dtype="float64") if source.task.output.is_numeric else np.ones(1)
    judge = quantize or ("float16" if source.mixed_precision and converted is source.model else "")
    return agreement(compared_examples, answers, source.task, metric=metric, spread=spread, judge=judge)


def _batches(inputs: Inputs, size: int, *, deep: bool) -> Iterator[Any]:
    """Yields the inputs in the form of the source; columns as the arrays of the model's inputs by name."""
    for start in range(0, len(inputs), size):
        at = np.arange(start, min(start + size, len(inputs)))
        if inputs.columns:
            yield inputs.layout.arrays({name: values[at] for name, values in inputs.table().items()})
        else:
            batch = inputs.read(at)
            yield batch.astype("float32") if deep else batch  # deep images of TFDS are uint8 in memory


def _export_record(
    source: Original, run: RunFolder, export_folder: Path, form: Format, quantize: Quantize, comparison: Agreement
) -> dict[str, Any]:
    """Returns the contents of `export.json`."""
    return {
        "format": form,
        "quantize": quantize or None,
        "run": run.id,
        "made": now(),
        "model": FILES[form],
        "model_sha256": hashlib.sha256(source.file.read_bytes()).hexdigest(),
        "bytes": sum(path.stat().st_size for path in export_folder.rglob("*") if path.is_file()),
        "agreement": comparison.as_dict(),
        "versions": {name: version(name) for name in _VERSIONS[form]},
        "files": _checksums(export_folder),
    }
