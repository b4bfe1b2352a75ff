"""Words behind the language of a code block, such as ``walkers=4``, are for tests alone."""

from __future__ import annotations

import re
from typing import Any

FENCE = re.compile(r"^(```[a-z]+) [a-z]+=\d+$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave them out; a fence with them would not be one."""
    return FENCE.sub(r"\1", markdown)
