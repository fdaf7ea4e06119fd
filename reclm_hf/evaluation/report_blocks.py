"""What a report is made of, before it is written as Markdown or as a page: headings, paragraphs, tables and lists.

Both forms are written from the same blocks, so that they hold the same numbers in the same words. Texts may hold
`code` in backticks, and a cell of a table may be **strong**; everything else in them is plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .report_format import escape, markdown_table


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    text: str
    level: int = 2
    kind = "heading"

    def markdown(self) -> str:
        """As Markdown, with a line end."""
        return f"{'#' * self.level} {self.text}\n"


@dataclass(frozen=True)
class Paragraph:
    """One paragraph."""

    text: str
    kind = "paragraph"

    def markdown(self) -> str:
        """As Markdown, with a line end."""
        return f"{self.text}\n"


@dataclass(frozen=True)
class Table:
    """Lines of cells, the head first. caption: what the table is of, for those who hear the page read out."""

    lines: Sequence[Sequence[str]]
    caption: str = ""
    kind = "table"

    def markdown(self) -> str:
        """As Markdown, with a line end."""
        return markdown_table([[escape(cell) for cell in line] for line in self.lines])


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    lines: Sequence[str]
    kind = "bullets"

    def markdown(self) -> str:
        """As Markdown, with a line end."""
        return "".join(f"- {line}\n" for line in self.lines)


Block = Heading | Paragraph | Table | Bullets


def markdown(blocks: Iterable[Block]) -> str:
    """The blocks as Markdown, an empty line between any two."""
    return "\n".join(block.markdown() for block in blocks)
