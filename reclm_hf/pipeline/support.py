"""The table of what every recommender and floor can do, from what the classes say of themselves."""

from __future__ import annotations

from itertools import product

from reclm_hf.baselines import FLOORS
from reclm_hf.baselines.base import Floor
from reclm_hf.recommender.backbone import Support
from reclm_hf.recommender.configuration_reclm_recommender import PRESETS, RecLMRecommenderConfig
from reclm_hf.recommender.modeling_reclm_recommender import BACKBONES

_COLUMNS = (
    "reads item texts",
    "known users",
    "cold items",
    "new users by history",
    "new users by profile",
    "needs a graph",
)
_NEEDS_PROFILES = "with `llm` profiles, or `floor_residual`"


def recommender_support(backbone: str) -> dict[tuple[str, str], Support]:
    """(preset, profile mode) -> what a recommender with this backbone can do."""
    return {
        (preset, mode): BACKBONES[backbone].support(
            RecLMRecommenderConfig(backbone=backbone, preset=preset, profile_mode=mode)
        )
        for preset, mode in product(PRESETS, ("none", "llm"))
    }


def floor_support(floor: type[Floor]) -> Support:
    """What a floor can do: it is fitted to known users and offers nothing for others."""
    return Support(floor.needs_vectors, True, floor.recommends_cold, False, False, False)


def support_table() -> str:
    """Markdown: one row a backbone, then one row a floor."""
    rows = [
        f"| {backbone.title} (`{name}`) | {' | '.join(_cells(recommender_support(name)))} |"
        for name, backbone in BACKBONES.items()
    ]
    rows += [
        f"| `{name}` (floor) | {' | '.join(map(_yes_no, floor_support(floor)))} |" for name, floor in FLOORS.items()
    ]
    return "\n".join([f"| | {' | '.join(_COLUMNS)} |", "|---" * (len(_COLUMNS) + 1) + "|", *rows])


def _cells(support: dict[tuple[str, str], Support]) -> list[str]:
    """One cell a column: yes, no, or what it takes."""
    cells = []
    for column in zip(*support.values(), strict=True):
        able = {setting for setting, value in zip(support, column, strict=True) if value}
        if able and able != set(support):
            assert able == {(preset, mode) for preset, mode in support if mode == "llm" or preset == "floor_residual"}
            cells.append(_NEEDS_PROFILES)
        else:
            cells.append(_yes_no(bool(able)))
    return cells


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
