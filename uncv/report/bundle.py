"""plotly.js as it is carried inside a report: compressed, and unpacked by the browser."""

from __future__ import annotations

import gzip
from base64 import b64encode
from functools import cache


@cache
def packed_plotly() -> str:
    """Return plotly.js, gzip and base64; the same text every time."""
    from plotly.offline import get_plotlyjs

    content: bytes = gzip.compress(get_plotlyjs().encode("utf-8"), 9, mtime=0)
    return b64encode(content).decode("ascii")
