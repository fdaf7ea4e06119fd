"""The figures of a page, and what stands in the place of one that could not be made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

# A column of the page: a phone shows it at this size, a screen two or three side by side and larger.
WIDTH = 350


@dataclass(frozen=True)
class Picture:
    """A figure and what is written below it, if anything; without an `svg`, the caption says why there is none."""

    caption: str
    svg: str = ""


def draw(name: str, caption: str, make: Callable[[], str], strict: bool = False) -> Picture:
    """The figure that `make` gives as SVG.

    Args:
        name: what the reader is told that is missing, where it fails.
        strict: raise instead, as tests do.
    """
    try:
        return Picture(caption, make())
    except Exception as error:  # a plot must not take the numbers with it
        if strict:
            raise
        logger.warning("report.html: no plot of %s: %s", name, error)
        logger.debug("why", exc_info=True)
        return Picture(f"The plot of {name} could not be made: {error or type(error).__name__}")
