"""`python -m dlcli` and the `dlcli` command."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    from dlcli.cli.app import app

    app(prog_name="dlcli")


if __name__ == "__main__":
    main()
