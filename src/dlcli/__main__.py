"""`python -m dlcli` and the `dlcli` command."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    import os

    # Looking for pydantic's plugins reads the metadata of every installed package: 30 ms of a check's 300.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from dlcli.cli.app import app

    app(prog_name="dlcli")


if __name__ == "__main__":
    main()
