"""The files beside an export: a README, the labels, and a short program that uses the export."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from dlcli.export.agreement import MOST_DIFFERENT_DECISIONS, MOST_LOST, Agreement
from dlcli.export.deployed import Original
from dlcli.export.formats import FILES, Format, Quantize
from dlcli.runs import RunFolder, layout
from dlcli.runs.files import write_text
from dlcli.runtime import image_orientation, image_reader, text_tokens
from dlcli.runtime.images import settings_of
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.text_tokens import Tokenizer
from dlcli.spec.data.data import ImageSettings
from dlcli.visible import visible

_NEEDS = {
    "keras": "keras and tensorflow",
    "saved_model": "tensorflow",
    "tflite": "ai-edge-litert",
    "onnx": "onnxruntime",
}


def write_labels(path: Path, classes: tuple[str, ...]) -> None:
    """Writes the names of the outputs, one per line, in the model's order."""
    write_text(path, "".join(f"{visible(name)}\n" for name in classes))


def write_categories(path: Path, vocabularies: dict[str, list[str]]) -> None:
    """Writes the categories of text columns: a category's number is its index; the first stands for unknown texts."""
    write_text(path, json.dumps(vocabularies, indent=1, ensure_ascii=True) + "\n")


def write_tokenizer(folder: Path, tokenizers: Mapping[str, Tokenizer]) -> None:
    """Writes the vocabularies of texts and a program that turns texts into numbers of tokens; nothing without texts."""
    if not tokenizers:
        return
    settings = asdict(next(iter(tokenizers.values())))  # those of a run are the same for all its columns
    del settings["vocabulary"]
    vocabularies = {name: list(tokenizer.vocabulary) for name, tokenizer in tokenizers.items()}
    content = json.dumps({"settings": settings, "vocabularies": vocabularies}, indent=1, ensure_ascii=True)
    write_text(folder / layout.TOKENS, content + "\n")
    write_text(folder / layout.TOKENIZER, Path(text_tokens.__file__).read_text(encoding="utf-8"))


def write_shared_columns(path: Path, shared: Mapping[str, tuple[str, ...]], row: dict[str, float | str]) -> None:
    """Writes the columns of each shared input in the order of its values, each with the value of the example of a row."""
    columns = {name: {column: row[column] for column in of_input} for name, of_input in shared.items()}
    write_text(path, json.dumps(columns, indent=1, ensure_ascii=True) + "\n")


def example_row(inputs: Inputs) -> dict[str, float | str]:
    """Returns an example of a row: a typical value of each column; empty for inputs without columns."""
    return {name: inputs.column_kinds[name].typical(values) for name, values in inputs.columns.items()}


def example(source: Original, form: Format, image: ImageSettings, row: dict[str, float | str], array_name: str = "x") -> str:
    """Returns a program that loads the export and prints its prediction for an image, an array, or the row.

    Args:
        source: the run's model.
        form: the format.
        image: the run's settings of images.
        row: an example of a row.
        array_name: the name of the inputs in a `.npz` file.
    """
    reading, more_imports = _input_lines(source, image, row, form, array_name)
    argument = {"images": " photo.jpg", "arrays": " rows.npy", "columns": ""}[source.model_inputs.kind]
    packages = [f"import {name.replace('-', '_')}" for name in source.packages(form)]
    imports = [*_IMPORTS[form], *more_imports, *packages]
    is_image = source.model_inputs.kind == "images"
    program = layout.IMAGE_READER if is_image else layout.TOKENIZER if "read_tokenizers" in reading else ""
    standard = (["import sys"] if argument or program else []) + (["import json"] if "json." in reading else [])
    standard += ["import os"] if form == "keras" else []
    lines = [
        f'"""Usage: python {layout.EXAMPLE_PROGRAM}{argument}"""',
        "",
        *sorted(standard),
        "from pathlib import Path",
        "",
        *(['os.environ["KERAS_BACKEND"] = "tensorflow"'] if form == "keras" else []),
        *([f"sys.path.insert(0, str(Path(__file__).parent))  # where {program} is"] if program else []),
        *sorted(imports, key=lambda line: (line.startswith("from"), line.split()[1])),
        "",
        "folder = Path(__file__).parent",
        f'labels = (folder / "{layout.LABELS}").read_text(encoding="utf-8").splitlines()',
        *reading.splitlines(),
        *_model_call(source, form).splitlines(),
        source.task.output.ranking_loop,
        _PRINT,
    ]
    return "\n".join(lines) + "\n"


_IMPORTS: dict[Format, list[str]] = {
    "keras": ["import keras"],
    "saved_model": ["import tensorflow as tf"],
    "tflite": ["from ai_edge_litert.interpreter import Interpreter"],
    "onnx": ["import onnxruntime"],
}


def _input_lines(
    source: Original, image: ImageSettings, row: dict[str, float | str], form: Format, array_name: str
) -> tuple[str, list[str]]:
    """Returns the lines that create `inputs`, and their imports."""
    if source.model_inputs.kind == "images":
        imports = ["import numpy as np", "from image_reader import Settings, read_image"]
        return _image_lines(source.model_inputs.shape, image), imports
    if source.model_inputs.kind == "arrays":
        return _READING_ARRAY.format(name=array_name), ["import numpy as np"]
    sharing = {column for columns in source.shared.values() for column in columns}
    values_by_input = {source.names[name]: value for name, value in row.items() if name not in sharing}
    lines = ["row = {", *(f"    {name!a}: {value!a}," for name, value in values_by_input.items()), "}"]
    imports = {"keras": ["import tensorflow as tf"], "saved_model": []}.get(form, ["import numpy as np"])
    has_tokens = bool(source.token_layers) and form in ("tflite", "onnx")
    if has_tokens:
        imports.append("from tokenizer import read_tokenizers")
        lines += [
            f'tokenizers = read_tokenizers(folder / "{layout.TOKENS}")',
            "tokens = {name: np.array(t.numbers([row.pop(name)]), np.int32) for name, t in tokenizers.items()}",
        ]
    if form == "keras":
        lines.append("inputs = {name: tf.constant([[value]]) for name, value in row.items()}")
    elif form == "saved_model":
        lines.append("inputs = {name: tf.constant([value]) for name, value in row.items()}")
    elif form == "onnx":
        lines.append("inputs = {k: np.array([[v]], object if isinstance(v, str) else np.float32) for k, v in row.items()}")
    else:
        if source.lookups:
            lines += [
                f'vocabularies = json.loads((folder / "{layout.CATEGORIES}").read_text(encoding="utf-8"))',
                "for name, words in vocabularies.items():  # text is passed as its index; 0 if it is unknown",
                "    row[name] = words.index(row[name]) if row[name] in words[1:] else 0",
            ]
        lines.append("inputs = {k: np.array([[v]], np.int32 if isinstance(v, int) else np.float32) for k, v in row.items()}")
    lines += ["inputs |= tokens"] if has_tokens else []
    return "\n".join([*lines, *_reading_shared(source, form)]), imports


def _reading_shared(source: Original, form: Format) -> list[str]:
    """Returns the lines that add the shared inputs to `inputs`; none for a model without any."""
    if not source.shared:
        return []
    values = "[list(columns.values())]"
    tensor = f"tf.constant({values})" if form in ("keras", "saved_model") else f"np.array({values}, np.float32)"
    return [
        f'shared = json.loads((folder / "{layout.SHARED_COLUMNS}").read_text(encoding="utf-8"))',
        f"inputs |= {{name: {tensor} for name, columns in shared.items()}}",
    ]


_READING_ARRAY = """rows = np.load(sys.argv[1])
if not isinstance(rows, np.ndarray):  # .npz
    rows = rows[{name!a} if {name!a} in rows.files else rows.files[0]]
inputs = rows.astype("float32")"""


def _image_lines(shape: tuple[int, ...], image: ImageSettings) -> str:
    """Returns the lines that read an image with the copy of dlcli's reader and the settings of the run."""
    settings = settings_of(image.model_copy(update={"size": shape[:2], "channels": shape[2]}))
    fields = (f"{name}={value!r}" for name, value in asdict(settings).items())
    return f"inputs = read_image(sys.argv[1], Settings({', '.join(fields)}))[np.newaxis]"


def write_image_reader(folder: Path) -> None:
    """Writes a copy of dlcli's reader of image files, so that the model gets the same pixels as in training.

    It is one file, which needs no dlcli: the code of `image_orientation` takes the place of its import.
    """
    reader, orientation = map(inspect.getsource, (image_reader, image_orientation))
    _, _, code = orientation.partition("from __future__ import annotations\n")
    own = "from dlcli.runtime.image_orientation import orientation\n"
    write_text(folder / layout.IMAGE_READER, reader.replace(own, code.lstrip()))


def _model_call(source: Original, form: Format) -> str:
    """Returns the lines that compute `scores` of the first example from `inputs`."""
    columns, output = source.model_inputs.kind == "columns", source.output_name
    entry = "" if columns else source.model.input.name
    tensor = "inputs" if columns else 'inputs.astype("float32")'
    file = FILES[form]
    if form == "keras":
        return f'model = keras.saving.load_model(folder / "{file}", compile=False)\nscores = model(inputs).numpy()[0]'
    if form == "saved_model":
        arguments = "**inputs" if columns else f"{entry}=tf.constant(inputs)"
        loaded = f'served = tf.saved_model.load(str(folder / "{file}"))'
        return f'{loaded}\nscores = served.signatures["serving_default"]({arguments})["{output}"].numpy()[0]'
    if form == "tflite":
        arguments = "**inputs" if columns else f"{entry}={tensor}"
        loaded = f'run = Interpreter(model_path=str(folder / "{file}")).get_signature_runner()'
        return f'{loaded}\nscores = run({arguments})["{output}"][0]'
    arguments = "inputs" if columns else f'{{"{entry}": {tensor}}}'
    loaded = f'session = onnxruntime.InferenceSession(str(folder / "{file}"))'
    return f'{loaded}\nscores = session.run(["{output}"], {arguments})[0][0]'


_PRINT = '    print(f"{label}: {score:.6g}")'


def readme(
    source: Original, form: Format, quantize: Quantize, run: RunFolder, comparison: Agreement, image: ImageSettings
) -> str:
    """Returns the README of an export in Markdown."""
    kind = f"{form}, {quantize}" if quantize else form
    images = source.model_inputs.kind == "images"
    needs = " and ".join([_NEEDS[form], *source.packages(form)])
    pillow = " (and Pillow for images)" if images else ""
    reader = f"; `{layout.IMAGE_READER}` reads an image as in training" if images else ""
    sections = [
        f"# {visible(run.name)}: {kind}",
        f"The model of the dlcli run `{visible(run.id)}`, for use without dlcli. It needs {needs}{pillow};"
        f" `{layout.EXAMPLE_PROGRAM}` beside this file shows how, in about 15 lines{reader}.",
        "## Inputs\n\n" + _inputs(source, form, image),
        "## Outputs\n\n" + _outputs(source),
        "## Verification\n\n" + _verification(form, comparison),
    ]
    return "\n\n".join(sections) + "\n"


def _inputs(source: Original, form: Format, image: ImageSettings) -> str:
    model_inputs = source.model_inputs
    if model_inputs.columns:
        return _columns(source, form)
    input_name = source.model.input.name
    if model_inputs.kind == "arrays":
        return (
            f"`{input_name}`: float32 `(batch, {', '.join(map(str, model_inputs.shape))})`, raw: scaling is part of the model."
        )
    height, width, channels = model_inputs.shape
    dtype = "float32" if image.is_deep else {"saved_model": "uint8", "keras": "uint8 or float32"}.get(form, "float32")
    resized = {"stretch": "stretched", "pad": "padded with black", "crop": "cropped to the centre"}[image.resize]
    return (
        f"`{input_name}`: {dtype} `(batch, {height}, {width}, {channels})`, pixels from 0 to 255"
        f" ({'red, green, blue' if channels == 3 else 'grey'}); scaling is part of the model.\n\n"
        f"Images are rotated upright, put on {_background(image)} where they are transparent, and {resized} to {width} x"
        f" {height} by"
        f" Pillow's bilinear filter{_range_text(image)}: `{layout.IMAGE_READER}` implements this. No signature takes JPEG or"
        " PNG bytes: TensorFlow decodes and resizes with different rounding than Pillow, so its outputs would differ from"
        " those with"
        " the preprocessing of the training."
    )


def _background(image: ImageSettings) -> str:
    return image.background if isinstance(image.background, str) else f"the colour {image.background}"


def _range_text(image: ImageSettings) -> str:
    if not isinstance(image.value_range, tuple):
        return ""
    low, high = image.value_range
    return f"; of files with more than 8 bits the values {low:,g} and {high:,g} become 0 and 255"


def _columns(source: Original, form: Format) -> str:
    shape = "(batch,)" if form == "saved_model" else "(batch, 1)"
    as_numbers = source.lookups if form == "tflite" else {}
    tokenizers = source.tokenizers if form in ("tflite", "onnx") else {}
    types = dict.fromkeys(as_numbers, f"int32, from {layout.CATEGORIES}") | {
        name: f"int32 `(batch, {tokenizer.max_length})`, tokens, from {layout.TOKENS}" for name, tokenizer in tokenizers.items()
    }
    rows = [
        f"| {_cell(column)} | `{source.names[column]}` | {types.get(source.names[column], kind.exported_as)} |"
        for column, kind in (source.model_inputs.columns or {}).items()
        if source.names[column] not in source.shared
    ]
    table = "\n".join(["| column | input | type |", "| --- | --- | --- |", *rows])
    text = (
        "Raw columns; scaling and encoding are part of the model."
        if source.shared
        else (f"Raw columns, each `{shape}`; scaling and encoding are part of the model.")
    )
    text += "".join(f"\n\n{_shared_words(source, name)}" for name in source.shared)
    if rows:
        text += f"\n\nThese columns have an input each, `{shape}`:\n\n{table}" if source.shared else f"\n\n{table}"
    if as_numbers:
        text += (
            "\n\nLiteRT takes no text: pass each text as its index in the list of its input in"
            f" `{layout.CATEGORIES}`, and 0 for an unknown text. `{layout.EXAMPLE_PROGRAM}` shows it. The"
            " formats saved_model, onnx and keras take text as it is."
        )
    return text + (_tokens_words(next(iter(tokenizers.values()))) if tokenizers else "")


def _tokens_words(tokenizer: Tokenizer) -> str:
    """Returns a paragraph on how texts become tokens."""
    ngrams = f", also those of up to {tokenizer.ngrams} neighbours," if tokenizer.ngrams > 1 else ""
    return (
        f"\n\nTexts are numbers of tokens: `read_tokenizers` of `{layout.TOKENIZER}`, which needs Python alone, turns texts"
        f" into them by the vocabularies in `{layout.TOKENS}`, and `{layout.EXAMPLE_PROGRAM}` shows it; `python"
        f' {layout.TOKENIZER} {layout.TOKENS} "a text"` prints them. A text is changed by `{tokenizer.standardize}`'
        f" (for ASCII only), split by `{tokenizer.split}`, and its first {tokenizer.max_length:,} tokens{ngrams} are looked up:"
        f" {text_tokens.PADDING} is padding, {text_tokens.UNKNOWN} an unknown token. A missing text is an empty one. The"
        " formats saved_model and keras take texts as they are."
    )


def _shared_words(source: Original, name: str) -> str:
    """Returns what a shared input takes, in a sentence."""
    columns, kinds = source.shared[name], source.model_inputs.columns or {}
    return (
        f"`{name}`: {kinds[columns[0]].exported_as}, `(batch, {len(columns)})`: one input for {len(columns):,} columns,"
        f" in the order of the list under `{name}` in `{layout.SHARED_COLUMNS}` (with a typical value of each)."
    )


def _cell(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _outputs(source: Original) -> str:
    units = source.task.units(len(source.classes))
    meaning = source.task.output.meaning.format(labels=layout.LABELS)
    names = f" `{layout.LABELS}` lists them in order, one per line." if units == len(source.classes) else ""
    return f"`{source.output_name}`: float32 `(batch, {units})`, {meaning}{names}"


def _verification(form: Format, comparison: Agreement) -> str:
    reader = {"keras": "plain Keras", "saved_model": "TensorFlow", "tflite": "LiteRT", "onnx": "ONNX Runtime"}[form]
    judge = comparison.judged_as
    if not judge:
        limit = f"An output may differ by {comparison.limit:.2g} at most."
    elif comparison.same_decisions is None:
        limit = f"The root mean squared difference may be {MOST_LOST[judge]:.0%} of the targets' spread at most."
    else:
        decisions = f"{MOST_DIFFERENT_DECISIONS[judge]:.0%} of the decisions may differ"
        limit = f"{decisions}, and accuracy may fall by {MOST_LOST[judge]:.0%}."
    return f"Loaded again by {reader}: {comparison.words}. {limit} `{layout.EXPORT}` has the figures."
