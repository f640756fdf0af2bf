"""Exercises the Dockerfile without an engine: python scripts/docker_steps.py [cpu|gpu] [FOLDER].

Its COPY and RUN steps are carried out in order, in a clean virtual environment inside FOLDER (a temporary one by default),
and then its ENTRYPOINT with its CMD and with `doctor`. What needs a system of its own is named and left out: making a user,
becoming it, and the base image, in whose place the Python that runs this file stands. Paths of the image begin in FOLDER.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDS_A_SYSTEM = ("useradd", "adduser", "apt-get")


@dataclass
class Image:
    """What the steps have made so far: the image's root and Python, its variables and its working folder."""

    root: Path
    variables: dict[str, str]
    folder: Path = field(init=False)
    command: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.root

    def run(self, command: list[str]) -> None:
        """Runs a command in the image and ends with its exit code where it fails."""
        path = f"{self.root / 'venv' / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(command, cwd=self.folder, env=os.environ | self.variables | {"PATH": path})
        if done.returncode:
            sys.exit(f"docker_steps: exit code {done.returncode}: {command}")


def steps(text: str) -> list[tuple[str, str]]:
    """Returns the (instruction, arguments) of a Dockerfile, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, _, rest in split]


def copies(arguments: str) -> tuple[list[Path], str]:
    """Returns the sources and the target of a COPY.

    Raises:
        FileNotFoundError: a source is missing, or .dockerignore keeps it out.
    """
    *sources, target = arguments.split()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        if not (ROOT / source).exists() or not any(fnmatch(source, pattern) for pattern in kept):
            raise FileNotFoundError(f"COPY {source}: not in the build context")
    return [ROOT / source for source in sources], target


def do(image: Image, name: str, arguments: str, variant: str) -> None:
    """Carries out one step."""
    print(f"docker_steps: {name} {' '.join(arguments.split())[:100]}", file=sys.stderr, flush=True)
    if name == "ARG":
        key, _, default = arguments.partition("=")
        image.variables[key] = variant if key == "VARIANT" else default
    elif name == "ENV":
        image.variables |= dict(pair.split("=", 1) for pair in arguments.split())
    elif name == "WORKDIR":
        image.folder = image.root / arguments.lstrip("/")
        image.folder.mkdir(parents=True, exist_ok=True)
    elif name == "COPY":
        copy(*copies(arguments), image.folder)
    elif name == "RUN" and not any(word in arguments for word in NEEDS_A_SYSTEM):
        image.run(["sh", "-ec", arguments])
    elif name in ("RUN", "FROM", "USER"):
        print("docker_steps:   left out: needs a system of its own", file=sys.stderr)
    elif name == "ENTRYPOINT":
        image.command = json.loads(arguments)
    elif name == "CMD":
        image.arguments = json.loads(arguments)
    else:
        sys.exit(f"docker_steps: unknown instruction {name}")


def copy(sources: list[Path], target: str, folder: Path) -> None:
    """Copies files into the target folder and the content of folders to the target, as COPY does; links stay links."""
    for source in sources:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / target, dirs_exist_ok=True, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, folder / target)


def main(variant: str = "cpu", folder: str | None = None) -> None:
    """Carries out all steps and starts what the image would start."""
    root = Path(folder or tempfile.mkdtemp(prefix="dlcli-image-")).resolve()
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(root / "venv")], check=True)
    image = Image(root, {})
    for name, arguments in steps((ROOT / "Dockerfile").read_text()):
        do(image, name, arguments, variant)
        if image.variables.get("HOME", "").startswith("/home"):
            image.variables["HOME"] = str(root / image.variables["HOME"].lstrip("/"))
            Path(image.variables["HOME"]).mkdir(parents=True, exist_ok=True)
    image.run([*image.command, *image.arguments])
    image.run([*image.command, "doctor"])


if __name__ == "__main__":
    main(*sys.argv[1:])
