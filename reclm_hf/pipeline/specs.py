"""One recommender of a comparison by name; whoever only asks for its name need not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
    from reclm_hf.recommender.search import Settings


@dataclass(frozen=True)
class ModelSpec:
    """One row of a comparison."""

    backbone: str
    preset: str
    profile_mode: str
    seed: int = 0
    profile_sides: str = "user"
    profile_fit: str = "full"

    @property
    def row(self) -> str:
        """Names the row of a report, which is the mean over seeds."""
        parts = [self.backbone, self.preset, self.profile_mode]
        parts += [self.profile_sides] if self.profile_sides != "user" else []
        parts += [self.profile_fit] if self.profile_fit != "full" else []
        return "-".join(parts)

    @property
    def label(self) -> str:
        """Names the run and its folder."""
        return self.row + (f"-seed{self.seed}" if self.seed else "")

    @property
    def needs_table(self) -> bool:
        """Whether written profiles are needed."""
        from reclm_hf.recommender.profile_modes import UNWRITTEN

        return self.profile_mode not in UNWRITTEN and self.profile_sides != "none"

    def config(self, encoder: Any = None, settings: Settings | None = None) -> RecLMRecommenderConfig:
        """The configuration of this row; an encoder's identity goes with the weights."""
        from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig

        named: dict[str, Any] = {}
        if encoder is not None:
            named = {
                "text_encoder": encoder.model_id,
                "text_encoder_revision": encoder.revision,
                "text_max_length": encoder.max_length,
            }
        named |= {name: value for name, value in (settings or {}).items() if name != "learning_rate"}
        return RecLMRecommenderConfig(
            backbone=self.backbone,
            preset=self.preset,
            profile_mode=self.profile_mode,
            profile_sides=self.profile_sides,
            profile_fit=self.profile_fit,
            seed=self.seed,
            **named,
        )
