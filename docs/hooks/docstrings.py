"""What the Python reference makes of docstrings, for mkdocstrings."""

from __future__ import annotations

import re
from typing import Any

import griffe

HEADING = "Examples\n--------\n"
OF_NO_USE = {"__repr__", "extra_repr"}


class Docstrings(griffe.Extension):
    """Set doctests without a heading as examples, and leave out methods that print an object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Look at one object."""
        if obj.name in OF_NO_USE:
            obj.public = False
        if obj.docstring is not None and HEADING not in obj.docstring.value:
            value = obj.docstring.value
            obj.docstring.value = re.sub(r"^>>>", f"{HEADING}>>>", value, count=1, flags=re.M)
