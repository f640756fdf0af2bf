"""Every command of the README and the guide runs, as it is written there, on fewer epochs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("without_pictures")

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/guide.md",
    "docs/reliability.md",
    "docs/results.md",
    "docs/servers.md",
    "docs/data.md",
    "docs/data_images.md",
    "docs/cross_validation.md",
)
MNIST = ("mnist_cnn", "mnist_mlp")


def commands(page: str) -> list[str]:
    """Returns the lines that begin with `$` in the console blocks of a page, without those that set a variable."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("export ")]


def needs_mnist(command: str) -> bool:
    return any(name in command for name in MNIST)


def shortened(command: str) -> list[str]:
    """Returns the arguments of a dlcli command; a training gets one epoch, and a piece of a large set."""
    program, *arguments = shlex.split(command)
    assert program in ("dlcli", "scripts/dlcli"), command
    if "--resume" in arguments:
        return [re.sub(r"epochs=\d+", "epochs=2", word) for word in arguments]
    if arguments[0] in ("train", "batch"):
        arguments += ["--set", "training.epochs=1"]
        if needs_mnist(command):
            arguments += ["--set", "data.source.train=train[:2%]", "--set", "data.source.test=test[:2%]"]
    if arguments[0] == "finetune":
        arguments += ["--set", "training.stages.0.epochs=1", "--set", "training.stages.1.epochs=1"]
    return arguments


def needs_photos(command: str) -> bool:
    return "ants_bees" in command


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages assume it: the shipped specs, and `photos/` with two classes."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name, shade in (("ants", 40), ("bees", 200)):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(12):
            pixels = np.full((20, 24, 3), shade + index, "uint8")
            Image.fromarray(pixels).save(folder / "photos" / name / f"{index}.png")
    return folder


def run_all(listed: list[str]) -> None:
    from dlcli.cli.app import app

    for command in listed:
        result = CliRunner().invoke(app, shortened(command))
        assert result.exit_code == 0, f"{command}\n{result.output}\n{result.exception}"


AT_LEAST = [
    ("README.md", 1),
    pytest.param("docs/guide.md", 15, marks=pytest.mark.slow),
    ("docs/reliability.md", 3),
    ("docs/results.md", 14),
    pytest.param("docs/servers.md", 2, marks=pytest.mark.slow),
    ("docs/data.md", 2),
    ("docs/data_images.md", 1),
    pytest.param("docs/cross_validation.md", 7, marks=pytest.mark.slow),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("page", "at_least"), AT_LEAST)
def test_every_command_of_a_page_runs(page: str, at_least: int, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    skipped = (needs_mnist, needs_photos)
    listed = [line for line in commands(page) if line != "scripts/test" and not any(needs(line) for needs in skipped)]
    assert len(listed) >= at_least
    run_all(listed)


def test_the_commands_on_mnist_run(desk: Path, test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("TFDS_DATA_DIR", str(test_data / "tensorflow_datasets"))
    listed = [line for page in PAGES for line in commands(page) if needs_mnist(line)]
    assert len(listed) >= 2
    run_all(listed)


def test_the_commands_on_photos_run(desk: Path, test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("ANTS_BEES", str(test_data / "images" / "ants_bees"))
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(test_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"))
    listed = [line for page in PAGES for line in commands(page) if needs_photos(line)]
    assert listed
    run_all(listed)


def test_the_readme_names_every_command_and_no_other() -> None:
    from dlcli.cli.app import app

    named = set(re.findall(r"\| `dlcli ([\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    registered = {command.name or str(getattr(command.callback, "__name__", "")) for command in app.registered_commands}
    assert named == registered | {group.name for group in app.registered_groups}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "docs/performance.md", "benchmarks/README.md"])
def test_every_link_to_a_file_of_the_repository_is_valid(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_every_test_named_for_a_promise_exists() -> None:
    named = set(re.findall(r"`(tests/\S+\.py)`", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).is_file()]


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "docs/performance.md", "docs/design.md", "benchmarks/README.md"])
def test_no_page_has_a_placeholder(page: str) -> None:
    assert not re.search(r"\b(TO BE|TODO|TBD|[A-Z]+ROW)\b", (ROOT / page).read_text(encoding="utf-8"))


def test_the_spec_of_the_readme_is_valid_and_its_errors_are_those_of_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlcli.errors import SpecError
    from dlcli.spec.load import load

    monkeypatch.chdir(tmp_path)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    spec = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
    Path("digits_cnn.yaml").write_text(spec, encoding="utf-8")
    load("digits_cnn.yaml")
    wrong = spec.replace("filters: 32", "filter: 32").replace("  epochs: 30\n", "  epochs: 30\n  lr: 3\n")
    Path("digits_cnn.yaml").write_text(wrong, encoding="utf-8")
    with pytest.raises(SpecError) as raised:
        load("digits_cnn.yaml")
    assert f"```\n{raised.value}\n```" in page
