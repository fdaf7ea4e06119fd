"""The settings of an ablation, from a YAML recipe and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reclm_hf.baselines import FLOORS
from reclm_hf.data.bundled import DEFAULT
from reclm_hf.profiles.engines import DEFAULT_MODEL
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, PRESETS
from reclm_hf.tuning.held_out import DRAWN

from .ablation_profiles import Stage
from .ablation_recommender import AblationPlan
from .case_study import CASES
from .comparison import FLOORS_TO_BEAT


@dataclass(frozen=True)
class AblationOptions:
    """What to compare; every field is a key of the recipe.

    Attributes:
        output: folder of the ablation. data: a bundled name or a folder.
        profiles: folder of `reclm profiles build` whose tables name the neighbours; None: those shipped with the data.
        model, revision: the plain model, stage `raw`.
        stages: stage -> folder or Hub id of its profiler. reward: folder of the reward model, for its cost.
        measures: stage -> folder of `reclm measure`.
        users: file with a user id a line, the one that the stages were tuned without; None: drawn here and written to
            `users.txt`. n_users, seed: of that draw; the seed is also that of the case study.
        recommenders: backbone/preset of each. seeds: of every model. floors: shown beside them.
        batch_size: profiles written together. jobs: processes that train. cases: users of the case study.

    Raises:
        ValueError: a field without meaning; the message begins with its name.
    """

    output: str = "runs/ablation/default"
    data: str = DEFAULT
    profiles: str | None = None
    model: str = DEFAULT_MODEL
    revision: str | None = None
    stages: Mapping[str, str] = field(default_factory=dict)
    reward: str | None = None
    measures: Mapping[str, str] = field(default_factory=dict)
    users: str | None = None
    n_users: int = DRAWN
    seed: int = 0
    recommenders: Sequence[str] = ("lightgcn/floor_residual", "bias_mf/standard")
    seeds: Sequence[int] = (0, 1)
    floors: Sequence[str] = FLOORS_TO_BEAT
    batch_size: int = 8
    jobs: int = 1
    cases: int = CASES

    def __post_init__(self) -> None:
        for name in ("stages", "measures"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name}={getattr(self, name)!r}: give stages and their folders.")
        for name in ("recommenders", "seeds"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence) or not given or len(set(given)) < len(given):
                raise ValueError(f"{name}={given!r}: give a list of one or more, each once.")
        for entry in self.recommenders:
            backbone, _, preset = str(entry).partition("/")
            if backbone not in BACKBONE_NAMES or preset not in PRESETS:
                raise ValueError(
                    f"recommenders: {entry!r} is none; give backbone/preset, of {', '.join(BACKBONE_NAMES)} and "
                    f"{', '.join(PRESETS)}."
                )
        for name in ("n_users", "batch_size", "jobs"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: give a whole number of at least 1.")
        unknown = [floor for floor in self.floors if floor not in FLOORS]
        if unknown:
            raise ValueError(f"floors: {unknown[0]!r} is not known; choose from {', '.join(FLOORS)}.")

    def plan(self, stages: Sequence[Stage]) -> AblationPlan:
        """The models that these stages need."""
        pairs = [str(entry).partition("/") for entry in self.recommenders]
        return AblationPlan(
            tuple((backbone, preset) for backbone, _, preset in pairs),
            tuple(stage.name for stage in stages),
            tuple(self.seeds),
            tuple(self.floors),
        )


def read_options(recipe: str | Path | None, **given: Any) -> AblationOptions:
    """Options from a YAML recipe; what is given beside it, and is not None, wins.

    Raises:
        ValueError: not YAML, not names and values, an unknown key or a value without meaning. OSError: no such file.
    """
    import yaml

    content: Any = {}
    if recipe is not None:
        try:
            content = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{recipe} is not YAML: {error}") from error
    known = {entry.name for entry in fields(AblationOptions)}
    if not isinstance(content, Mapping) or set(content) - known:
        what = (
            "holds no names and values" if not isinstance(content, Mapping) else f"{sorted(set(content) - known)[0]!r}"
        )
        raise ValueError(f"{recipe}: {what}; a recipe of an ablation has the keys {', '.join(sorted(known))}.")
    return AblationOptions(**{**content, **{name: value for name, value in given.items() if value is not None}})
