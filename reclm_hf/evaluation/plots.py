"""What the plots share: matplotlib without its global state, and SVG that can stand in a page.

Lengths are CSS pixels. Labels are plain text in whatever font the reader has; nothing in them is read as a formula.
Equal figures give equal bytes: no date, no version, and ids that follow from the content alone.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#111827", "#4b5563", "#d1d5db"
_SVG, _XLINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}"
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji


@dataclass(frozen=True)
class Mark:
    """How a kind of row is drawn: kinds differ in shape and filling too, for those who print or see in grey."""

    name: str
    colour: str
    marker: str
    filled: bool = True

    def style(self, size: float = 7) -> dict[str, Any]:
        """Arguments of `Axes.plot` for one point."""
        face = self.colour if self.filled else "#ffffff"
        return {
            "marker": self.marker,
            "markersize": size,
            "color": self.colour,
            "markerfacecolor": face,
            "markeredgewidth": 1.5,
            "linestyle": "none",
        }


MARKS = {
    "floor": Mark("floor", "#4b5563", "s"),
    "base": Mark("without profiles", "#1d4ed8", "o", filled=False),
    "model": Mark("with profiles", "#1d4ed8", "o"),
    "mean user": Mark("mean user", "#b45309", "D"),
    "placebo": Mark("placebo", "#7e22ce", "v", filled=False),
}


def mark_of(group: str, profile_mode: str) -> Mark:
    """The mark of a row of the results, by its group (`report_format.group_of`) and profile mode."""
    return MARKS["base" if group == "model" and profile_mode == "none" else group]


def plain(text: object, most: int = 80) -> str:
    """A label of one line without hidden characters, cut to `most` characters."""
    spaced = "".join(" " if character.isspace() else character for character in str(text))
    kept = " ".join("".join(character for character in spaced if _is_shown(character)).split())
    return kept if len(kept) <= most else f"{kept[: most - 1]}…"


def _is_shown(character: str) -> bool:
    # XML knows no control characters, and bidirectional overrides would turn what stands beside them.
    category = unicodedata.category(character)
    hidden = category in ("Cc", "Cs") or (category == "Cf" and character not in _JOINERS)
    return not hidden and ord(character) & 0xFFFE != 0xFFFE


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size. Draw inside and end with `to_svg`: the settings hold as long as the block lasts."""
    from matplotlib import style
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "reclm_hf",
        "text.parse_math": False,
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "axes.labelsize": 11,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.frameon": False,
        "legend.fontsize": 10,
        "savefig.dpi": 72,
    }
    # After the defaults: a matplotlibrc of the machine must not change the picture.
    with style.context(["default", settings]):
        yield Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="#ffffff")


def to_svg(figure: Figure, name: str, description: str, tooltips: Mapping[str, str] | None = None) -> str:
    """The figure as an `<svg>` element that may stand in a page beside others, or in a file of its own.

    Args:
        name: put before all ids, so that two figures of a page do not take one another's.
        description: what a reader is told who cannot see the picture.
        tooltips: `gid` of a drawn thing -> text shown over it.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The reader's fonts draw the text; what the font here lacks changes nothing but the estimated width.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    _clean(root, name, dict(tooltips or {}))
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    root.attrib.update(
        {
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
            "aria-label": plain(description, 2000),
            "stroke-linejoin": "round",
            "stroke-linecap": "butt",
        }
    )
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True) + "\n"


def _clean(root: ElementTree.Element, name: str, tooltips: dict[str, str]) -> None:
    """Take out what describes the file, the style that would hold for the whole page, and ids that nobody refers to."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = {found for element in root.iter() for value in element.attrib.values() for found in _references(value)}
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own in tooltips:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = plain(tooltips[own], 300)
            element.insert(0, title)
        for key, value in list(element.attrib.items()):
            if key.startswith(_XLINK):
                del element.attrib[key]
                key = key.removeprefix(_XLINK)
            for found in _references(value):
                value = value.replace(f"#{found}", f"#{name}-{found}")
            element.attrib[key] = value
        if own in used:
            element.attrib["id"] = f"{name}-{own}"


def _references(value: str) -> list[str]:
    return [first or second for first, second in _REFERENCE.findall(value)]
