"""The command line: commands without logic of their own."""

from uncv.cli.app import app

__all__ = ["app"]
