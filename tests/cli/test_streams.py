"""Closed streams, readers that have gone, and what the shell says of Keras: exit codes and lines, never a traceback."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import command, environment

TINY = "name: tiny\ntask: classification\ndata: {source: {kind: builtin, name: iris}}\nmodel: {kind: mlp, units: [4]}\n"


def shell(line: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of Bash in which `dlcli` is this checkout's; the exit code is the first failing program's of a pipe."""
    text = f'set -o pipefail; dlcli() {{ {shlex.join(map(str, command()))} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, cwd=folder, env=environment(**changes), timeout=280, check=False
    )


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full", "| true", "2>&1 | true"])
def test_a_good_spec_is_good_whatever_happens_to_the_output(tmp_path: Path, redirection: str) -> None:
    (tmp_path / "spec.yaml").write_text(f"version: 1\n{TINY}training: {{epochs: 1}}\n")
    done = shell(f"dlcli check spec.yaml {redirection}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&1 | true"])
def test_a_wrong_spec_is_wrong_whatever_happens_to_the_output(tmp_path: Path, redirection: str) -> None:
    assert shell(f"dlcli check none.yaml {redirection}", tmp_path).returncode == 2


def test_the_shells_settings_of_keras_are_ignored_in_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(f"version: 1\n{TINY}training: {{epochs: 2}}\n")
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "epsilon": "x", "image_data_format": "channels_first"}')
    settings = {"KERAS_BACKEND": "torch", "TF_USE_LEGACY_KERAS": "1", "KERAS_MAX_EPOCHS": "1", "KERAS_HOME": str(tmp_path)}
    done = shell("dlcli train spec.yaml", tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    for line in (
        "note: KERAS_BACKEND='torch' is ignored: dlcli uses tensorflow",
        "note: TF_USE_LEGACY_KERAS='1' is ignored: dlcli uses Keras 3",
        "note: KERAS_MAX_EPOCHS='1' is ignored: the spec sets the number of epochs",
        f"note: {tmp_path}/keras.json is ignored (floatx 'float64', epsilon 'x', image_data_format 'channels_first'):"
        " the spec and Keras's defaults apply",
    ):
        assert done.stderr.count(line) == 1
    assert "epoch 2/2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_process_that_dlcli_starts_does_not_repeat_them(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(f"version: 1\n{TINY}training: {{epochs: 1}}\n")
    (tmp_path / "keras.json").write_text('{"floatx": "nonsense"}')
    settings = {"KERAS_BACKEND": "nonsense", "KERAS_HOME": str(tmp_path)}
    done = shell("dlcli train spec.yaml && dlcli export tiny --format keras", tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: KERAS_BACKEND='nonsense' is ignored") == 2  # once a command
    assert done.stderr.count("keras.json is ignored (floatx 'nonsense')") == 2


def test_warnings_of_other_packages_do_not_reach_the_terminal(tmp_path: Path) -> None:
    code = "import warnings, logging; from dlcli.upstream.start import silence_dependencies as s; s();"
    code += "warnings.warn('raw'); logging.getLogger('tensorflow').warning('raw'); logging.getLogger('x').error('kept')"
    line = f'{shlex.quote(str(command()[0]))} -c "{code}"'
    assert shell(line, tmp_path).stderr == "kept\n"
    assert shell(line, tmp_path, DLCLI_VERBOSE="1").stderr.count("raw") == 2
