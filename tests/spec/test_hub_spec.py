"""What a spec may say of a Hub module, without TensorFlow."""

from pathlib import Path

import pytest
from pydantic import ValidationError

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.spec.model.backbones.hub import Hub


def hub(handle: object, folder: Path | None = None, **fields: object) -> Hub:
    """Returns the spec as a file in a folder would give it."""
    return Hub.model_validate({"kind": "hub", "handle": str(handle), **fields}, context={"folder": str(folder or ".")})


def faults(spec: Hub) -> dict[str, str]:
    """Returns what is wrong with each field."""
    return dict(spec.faults())


def test_a_path_is_relative_to_the_specs_folder(tmp_path: Path) -> None:
    assert hub("module", tmp_path).handle == str(tmp_path / "module")
    assert hub("../module.tar.gz", tmp_path / "specs").handle == str(tmp_path / "module.tar.gz")


def test_the_environment_may_say_where_modules_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODULES", str(tmp_path))
    assert hub("${MODULES}/module").handle == str(tmp_path / "module")
    assert hub("${NO_MODULES:-https://example.org}/module/1").handle == "https://example.org/module/1"


def test_an_address_is_kept_as_it_is_and_not_looked_at(tmp_path: Path) -> None:
    spec = hub("https://example.org/module/1?format=compressed", tmp_path)
    assert spec.handle == "https://example.org/module/1?format=compressed"
    assert not faults(spec)


def test_what_is_no_module_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "module.rar").touch()
    assert "no such folder or archive" in faults(hub(tmp_path / "nowhere"))["handle"]
    assert "no saved_model.pb" in faults(hub(tmp_path / "empty"))["handle"]
    assert "expected a folder or an archive (.tar.gz" in faults(hub(tmp_path / "module.rar"))["handle"]


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar", ".zip"])
def test_an_archive_is_opened_only_later(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"module{ending}"
    path.touch()
    assert not faults(hub(path))


@pytest.mark.parametrize("bounds", [[1, 0], [1, 1]])
def test_a_range_without_width_is_a_fault(tmp_path: Path, bounds: list[int]) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert faults(hub(tmp_path, input_range=bounds)) == {
        "input_range": f"expected [low, high], found {[float(one) for one in bounds]}"
    }


@pytest.mark.parametrize("bounds", [["0", "1"], [0], [0, 1, 2], [float("nan"), 1], [0, float("inf")]])
def test_a_range_is_two_finite_numbers(bounds: list[object]) -> None:
    with pytest.raises(ValidationError):
        hub("module", input_range=bounds)


def test_images_have_three_channels_once_their_size_is_known() -> None:
    assert hub("module").example_shape() is None
    assert hub("module", input_size=[96, 128]).example_shape() == (96, 128, 3)
