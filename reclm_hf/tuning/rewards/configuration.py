"""`reward_config.json`: what a reward model was made of and how well it told profiles apart."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...data.folder import write_json
from ...profiler.configuration_reclm_profiler import LAYOUTS, installed_versions
from ...profiler.files import read_json

logger = logging.getLogger(__name__)

REWARD_CONFIG = "reward_config.json"
FORMAT = 1
"""Counts up when a reader of the older form would misunderstand the file."""


@dataclass(frozen=True)
class RewardModelConfig:
    """What a reward model is.

    Attributes:
        base_model: Hub id of the model that the adapter belongs on; of a whole model, the name of what it was made
            from.
        base_revision: its commit on the Hub; None where it did not come from there (a bundle, a folder).
        base_label: model and origin of the weights at hand in training, bundles named as such.
        layout: "adapter" (PEFT's files with the head, to be put on the base model) or "merged" (a whole model).
        accuracy: share of held-out pairs in which the better profile scored higher; None where none were held out.
        accuracy_by_kind: kind of the worse profile -> "accuracy", "low", "high", "pairs" of its held-out pairs.
        pairs: held-out pairs that the accuracy rests on.
        prompt: version of the prompts that the pairs were written with, where it is known.
        versions: of the packages that it was written with.
        extra: keys of the file that this version does not know; kept and written back.

    Raises:
        ValueError: a field without meaning; the message begins with its name.
    """

    base_model: str
    base_revision: str | None = None
    base_label: str = ""
    layout: str = "adapter"
    accuracy: float | None = None
    accuracy_by_kind: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pairs: int = 0
    prompt: str | None = None
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.base_model, str) or not self.base_model.strip():
            raise ValueError(f"base_model={self.base_model!r}: name a model by Hub id or folder.")
        if self.base_revision is not None and not isinstance(self.base_revision, str):
            raise ValueError(f"base_revision={self.base_revision!r}: give a commit or branch of the Hub, or null.")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout={self.layout!r} is not known; choose one of {', '.join(LAYOUTS)}.")
        if self.accuracy is not None and not _is_share(self.accuracy):
            raise ValueError(f"accuracy={self.accuracy!r}: give a share from 0 to 1, or null.")
        for name in ("accuracy_by_kind", "versions", "extra"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name}={getattr(self, name)!r}: give names and values.")

    def save(self, folder: str | Path) -> None:
        """Write `reward_config.json` into a folder."""
        known = {name: value for name, value in asdict(self).items() if name != "extra"}
        write_json({**self.extra, "format": FORMAT, **known}, Path(folder) / REWARD_CONFIG)

    @classmethod
    def load(cls, folder: str | Path) -> RewardModelConfig:
        """Read `reward_config.json` of a folder.

        Raises:
            FileNotFoundError: there is none: the folder is no reward model.
            ValueError: it is broken or means nothing; the message names file and field.
        """
        path = Path(folder) / REWARD_CONFIG
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is no reward model: it has no {REWARD_CONFIG}. Train one with `reclm reward`, or name the "
                "folder that it wrote."
            )
        values = read_json(path)
        form = values.pop("format", FORMAT)
        if form not in range(1, FORMAT + 1):
            raise ValueError(f"{path}: format={form!r} is newer than this package, which reads {FORMAT}.")
        known = {entry.name for entry in fields(cls)} - {"extra"}
        extra = {name: value for name, value in values.items() if name not in known}
        if extra:
            logger.warning("%s: unknown keys are kept but not used: %s", REWARD_CONFIG, ", ".join(sorted(extra)))
        if "base_model" not in values:
            raise ValueError(f"{path}: base_model is missing: name a model by Hub id or folder.")
        try:
            return cls(**{"versions": {}, **{name: values[name] for name in known & set(values)}}, extra=extra)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def require_accuracy(
    source: RewardModelConfig | Mapping[str, Any], floor: float, accept_weak: bool = False
) -> float | None:
    """The accuracy of a reward model on held-out users, where it is good enough to be followed.

    A policy learns whatever its reward model takes for better: below the floor that is mostly noise.

    Args:
        source: the configuration of a reward model, or the manifest of the stage that trained it.
        floor: lowest share of held-out pairs that it must have told apart.
        accept_weak: say so by a warning instead.

    Raises:
        ValueError: an accuracy below the floor, or none.
    """
    figures: Mapping[str, Any] = asdict(source) if isinstance(source, RewardModelConfig) else source
    if "figures" in figures:
        figures = figures["figures"]
    accuracy = figures.get("accuracy")
    if _is_share(accuracy) and accuracy >= floor:  # type: ignore[operator]
        return float(accuracy)  # type: ignore[arg-type]
    pairs = figures.get("pairs") or 0
    found = f"an accuracy of {accuracy:.3f} on {pairs} held-out pairs" if _is_share(accuracy) else "no known accuracy"
    problem = f"The reward model has {found}; {floor:g} is asked for."
    if not accept_weak:
        raise ValueError(
            f"{problem} Train it on more pairs or for longer (`reclm reward`), or pass --accept-weak-reward to use it "
            "all the same."
        )
    logger.warning("%s It is used all the same.", problem)
    return float(accuracy) if _is_share(accuracy) else None  # type: ignore[arg-type]
