"""What the demo compares: the recommenders, and the pairs of rows that are asked about."""

from __future__ import annotations

from dataclasses import dataclass

from .specs import ModelSpec

# `none` is the base, `constant` its twin with the parameters of the augmented model, `shuffled` the placebo.
MODES = {
    "standard": ("none", "constant", "llm"),
    "floor_residual": ("none", "constant", "shuffled", "llm"),
}
PLACEBOS = ("constant", "shuffled")
FLOORS_TO_BEAT = ("popularity", "popularity_decayed", "text_cosine", "text_popularity")
COLD_START_STYLES = ("dropoutnet_style", "clcrec_style")


@dataclass(frozen=True)
class DemoPlan:
    """Rows and comparisons over some backbones and seeds, in two presets and up to four profile modes."""

    backbones: tuple[str, ...]
    seeds: tuple[int, ...]

    @classmethod
    def short(cls, seed: int = 0) -> DemoPlan:
        """Two backbones, one seed: minutes."""
        return cls(("bias_mf", "lightgcn"), (seed,))

    @classmethod
    def everything(cls, seed: int = 0) -> DemoPlan:
        """All backbones, three seeds."""
        # Here: whoever only asks what a run shows need not load transformers.
        from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES

        return cls(BACKBONE_NAMES, (seed, seed + 1, seed + 2))

    @property
    def shown(self) -> ModelSpec:
        """The recommender that the demo hands over: augmented LightGCN over its floors."""
        return ModelSpec("lightgcn", "floor_residual", "llm", self.seeds[0])

    def specs(self) -> list[ModelSpec]:
        """Every recommender to be trained, the slow ones first, so that no process waits for them at the end."""
        cheap = {"bias_mf": 2, "lightgcn": 1}
        found = [
            ModelSpec(backbone, preset, mode, seed)
            for backbone in self.backbones
            for preset, modes in MODES.items()
            for mode in modes
            for seed in self.seeds
        ]
        return sorted(found, key=lambda spec: cheap.get(spec.backbone, 0))

    def by_row(self) -> dict[str, list[ModelSpec]]:
        """Row of the report -> its seeds, in the order of the report."""
        rows: dict[str, list[ModelSpec]] = {}
        for preset, modes in MODES.items():
            for backbone in self.backbones:
                for mode in modes:
                    members = [ModelSpec(backbone, preset, mode, seed) for seed in self.seeds]
                    rows[members[0].row] = members
        return rows

    def pairs(self) -> dict[str, list[tuple[str, str]]]:
        """Family -> pairs of rows; Holm's correction runs over a family: each pair in two settings.

        What a profile is worth is asked in ten cells (five backbones, two settings) of each preset, against the twin
        with a constant profile.
        """
        families: dict[str, list[tuple[str, str]]] = {}
        for preset in MODES:
            families[f"profile, {preset}"] = [self._pair(name, preset, "constant") for name in self.backbones]
        families["placebo"] = [self._pair(name, "floor_residual", "shuffled") for name in self.backbones]
        families["floors"] = [
            (f"{name}-floor_residual-{mode}", floor)
            for name in self.backbones
            for mode in ("none", "llm")
            for floor in FLOORS_TO_BEAT
        ]
        families["cold-start methods"] = [
            (f"{name}-floor_residual-llm", other) for name in self.backbones for other in COLD_START_STYLES
        ]
        families["personal"] = [
            (f"{name}-floor_residual-llm", f"{name}-floor_residual-llm (mean user)") for name in self.backbones
        ]
        return families

    def strata_pairs(self) -> list[tuple[str, str]]:
        """Pairs whose difference is shown by history length and item popularity."""
        pairs = [self._pair(name, "floor_residual", "constant") for name in self.backbones]
        return [*pairs, *((f"{name}-floor_residual-llm", "popularity_decayed") for name in self.backbones)]

    @staticmethod
    def _pair(backbone: str, preset: str, other: str) -> tuple[str, str]:
        return f"{backbone}-{preset}-llm", f"{backbone}-{preset}-{other}"
