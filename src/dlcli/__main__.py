"""`python -m dlcli` and the `dlcli` command."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    import gc
    import os

    # Starting makes hundreds of thousands of lasting objects (TensorFlow: millions); Python's default of a collection every
    # 700 of them costs a twentieth of a check and of the import of TensorFlow.
    gc.set_threshold(50_000, 20, 20)

    # Looking for pydantic's plugins reads the metadata of every installed package: 30 ms of a check's 300.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from dlcli.cli.app import app

    app(prog_name="dlcli")


if __name__ == "__main__":
    main()
