"""What a page can show beside the tables of a report: training curves, a map, sample profiles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from .people_map import MapPoints
    from .samples import Sample

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extras:
    """Parts that the tables of a folder do not hold; what is None is said to be missing.

    Attributes:
        curves: of `curves.read_curves`. map: of `people_map.map_points`. samples: of `samples.sample_profiles`.
        notes: the further sentences of `report.md`; none takes those that were kept beside it.
        missing: name of a part -> why it is not here, to be read after the part's name and a colon.
    """

    curves: pd.DataFrame | None = None
    map: MapPoints | None = None
    samples: Sequence[Sample] | None = None
    notes: Sequence[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


def gather(notes: Sequence[str] = (), **makers: Callable[[], Any]) -> Extras:
    """Make the parts, each from its function; one that fails is named in `missing` and does not end a finished run.

    Args:
        makers: `curves`, `map`, `samples`.
    """
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except Exception as error:  # whatever it is, the results are there and must be shown
            logger.warning("report.html goes without %s: %s", name, error)
            logger.debug("why", exc_info=True)
            missing[name] = f"could not be made, {error or type(error).__name__}"
    return Extras(**found, notes=notes, missing=missing)
