"""Equations as SVG, drawn by Matplotlib when the site is built: no script, no font, no network.

A page writes ``$u_i$`` within a line and ``$$…$$`` on lines of their own, as GitHub reads it too.
Matplotlib's subset of TeX is enough; what it does not know ends the build with the page's name.
"""

from __future__ import annotations

import html
import re
from functools import cache
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import text_to_path
from mkdocs.exceptions import PluginError

SIZE = 100.0  # of the font while it is drawn; what is written out is relative to the text's
FONT = FontProperties(size=SIZE, math_fontfamily="stix")
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
SUM = re.compile(r"\\sum(?:[_^](?:\{[^}]*\}|[^\\{]))*")
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
WORDS = {
    Outline.MOVETO: ("M", 1),
    Outline.LINETO: ("L", 1),
    Outline.CURVE3: ("Q", 2),
    Outline.CURVE4: ("C", 3),
    Outline.CLOSEPOLY: ("Z", 0),
}


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replace what arithmatex has marked; each line of a display is a line of its own."""
    try:
        content = DISPLAY.sub(lambda found: _display(html.unescape(found[1])), content)
        return INLINE.sub(lambda found: svg(html.unescape(found[1])), content)
    except ValueError as error:
        raise PluginError(f"{page.file.src_uri}: an equation cannot be drawn: {error}") from error


def _display(tex: str) -> str:
    parts = tex.replace(r"\frac", r"\dfrac").split(r"\\")
    lines = [part.strip() for part in parts if part.strip()]
    rows = "".join(f'<div class="equation-line">{svg(line)}</div>' for line in lines)
    return f'<div class="equation">{rows}</div>'


@cache
def svg(tex: str) -> str:
    """Return an equation as an SVG element whose base line is that of the text around it."""
    tex = SUM.sub(r"\g<0>\\,", " ".join(tex.split()))
    width, height, depth = text_to_path.get_text_width_height_descent(f"${tex}$", FONT, True)
    points, codes = text_to_path.get_text_path(FONT, f"${tex}$", ismath=True)
    margin = 0.04 * SIZE
    box = f"0 {-(height - depth) - margin:.1f} {width:.1f} {height + 2 * margin:.1f}"
    size = f"width:{width / SIZE:.3f}em;height:{(height + 2 * margin) / SIZE:.3f}em"
    place = f"vertical-align:{-(depth + margin) / SIZE:.3f}em"
    label = html.escape(tex, quote=True)
    return (
        f'<svg class="math" role="img" aria-label="{label}" viewBox="{box}" style="{size};{place}">'
        f'<path fill="currentColor" d="{_outline(points, codes)}"/></svg>'
    )


def _outline(points: Any, codes: Any) -> str:
    """Return a path in SVG's letters; its y axis points down."""
    words, step = [], 0
    while step < len(codes):
        letter, count = WORDS[codes[step]]
        used = points[step : step + count]
        words.append(letter + " ".join(f"{x:.1f} {-y:.1f}" for x, y in used))
        step += max(count, 1)
    return "".join(words)
