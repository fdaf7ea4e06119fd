"""Training one recommender: epochs chosen on validation, one refit on the whole train period, everything resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from reclm_hf.baselines.select import select_floor
from reclm_hf.data.folder import write_json
from reclm_hf.data.splits import Split, Splits
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.modeling_reclm_recommender import BACKBONES, RecLMRecommender
from reclm_hf.recommender.optimizers import make_optimizer
from reclm_hf.recommender.search import Settings, best_trial, draw_settings, search
from reclm_hf.recommender.trainer import DivergedError, TrainerOptions, TrainingResult, choose_epochs, fit

from .bars import epoch_bar
from .selection import choose_cold_offset, recall_at_20, selection_value
from .specs import ModelSpec

logger = logging.getLogger(__name__)
_CHOICE = "choice.json"


@dataclass(frozen=True)
class Inputs:
    """What every row of a comparison shares.

    Attributes:
        item_vectors: [I, d_t] encoder vectors. profiles: split name -> [U, profile_dim] vectors as of that cut.
        encoder: the text encoder, or None when the vectors come from elsewhere.
        item_profiles: split name -> [I, profile_dim]. fold_profiles: split name -> profiles of the users written from
            the earlier and from the later half of the history, for `profile_fit="cross_fit"`.
    """

    splits: Splits
    item_vectors: np.ndarray
    profiles: Mapping[str, np.ndarray]
    encoder: Any = None
    item_profiles: Mapping[str, np.ndarray] = field(default_factory=dict)
    fold_profiles: Mapping[str, list[np.ndarray]] = field(default_factory=dict)

    def digest(self, with_profiles: bool = True) -> str:
        """SHA-256 of the vectors, by which a folder tells whether its results belong to them."""
        digest = hashlib.sha256(np.ascontiguousarray(self.item_vectors).tobytes())
        if with_profiles:
            folds = {name: np.stack(parts) for name, parts in self.fold_profiles.items()}
            for tables in (self.profiles, self.item_profiles, folds):
                for name in sorted(tables):
                    digest.update(name.encode() + np.ascontiguousarray(tables[name]).tobytes())
        return digest.hexdigest()

    @cached_property
    def half_life_days(self) -> float | None:
        """The half-life of popularity that is best on validation, chosen like that of the floor it comes from."""
        selection = select_floor("popularity_decayed", self.splits, None, recall_at_20)
        return selection.floor.params["half_life_days"]


def require_trainable(spec: ModelSpec, options: TrainerOptions) -> None:
    """Refuse what means nothing together, before texts are encoded or a folder is claimed.

    Raises:
        ValueError: see `RecLMRecommenderConfig` and `make_optimizer`.
    """
    make_optimizer(RecLMRecommender(spec.config()), options)  # of no user and no item


def train_model(
    spec: ModelSpec, inputs: Inputs, options: TrainerOptions, folder: Path, budget: int = 1, progress: bool = False
) -> RecLMRecommender:
    """Train one row, or load it where `folder` holds it already.

    Args:
        budget: settings that are tried on validation, the preset's own first; see `recommender.search`.
        progress: show bars of settings and epochs.

    `folder` receives `run.json` (what it belongs to), `search.json` (settings and values), `choice.json` (the
    validation curve), checkpoints while it runs, and `model/`.

    Raises:
        ValueError: `folder` holds a run on other data, profiles or settings.
    """
    require_trainable(spec, options)
    _candidates(spec, budget)  # a budget that cannot be drawn is refused before the folder is claimed
    _claim(folder, _identity(spec, inputs, options) | {"budget": budget})
    if _is_done(folder):
        return RecLMRecommender.from_pretrained(folder / "model")
    started = time.perf_counter()
    settings = search_settings(spec, inputs, options, folder, budget, progress)
    searched = time.perf_counter() - started
    choice = _choose(spec, inputs, options, folder, settings, progress)
    model = _build(spec, inputs, inputs.splits.test, settings)
    model.config.cold_offset = choice.get("cold_offset", model.config.cold_offset)
    epochs = choice["best_epoch"]
    seconds = _refit(model, inputs, _with_settings(options, settings), folder, epochs, progress).seconds
    known = {"settings": settings, "best_epoch": epochs, "validation_value": choice["best_value"]}
    _finish(model, spec, inputs, options, folder, known, searched + choice["seconds"] + seconds)
    return model


def train_fixed(
    spec: ModelSpec, inputs: Inputs, options: TrainerOptions, folder: Path, epochs: int, progress: bool = False
) -> RecLMRecommender:
    """Train one row for `epochs` epochs, nothing chosen, or load it where `folder` holds it already.

    Raises:
        ValueError: `folder` holds a run on other data, profiles or settings.
    """
    require_trainable(spec, options)
    _claim(folder, _identity(spec, inputs, options) | {"epochs": epochs})
    if _is_done(folder):
        return RecLMRecommender.from_pretrained(folder / "model")
    model = _build(spec, inputs, inputs.splits.test, {})
    result = _refit(model, inputs, options, folder, epochs, progress)
    write_json(asdict(result), folder / _CHOICE)  # the losses; it holds no value, and `best_epoch` is the last
    _finish(model, spec, inputs, options, folder, {"epochs": epochs}, result.seconds)
    return model


def _is_done(folder: Path) -> bool:
    return (folder / "model" / "config.json").is_file() and (folder / "done.json").is_file()


def _refit(
    model: RecLMRecommender, inputs: Inputs, options: TrainerOptions, folder: Path, epochs: int, progress: bool
) -> TrainingResult:
    """Train on the whole train period; the seconds include those before an interruption."""
    test = inputs.splits.test
    with epoch_bar("training", epochs, progress) as on_epoch:
        folds = inputs.fold_profiles.get(test.name)
        return fit(model, test, epochs, options, folder / "refit", on_epoch, fold_profiles=folds)


def _finish(
    model: RecLMRecommender,
    spec: ModelSpec,
    inputs: Inputs,
    options: TrainerOptions,
    folder: Path,
    known: Mapping[str, Any],
    seconds: float,
) -> None:
    model.save_pretrained(folder / "model")
    done = {"spec": asdict(spec), "options": asdict(options), "fingerprint": inputs.splits.fingerprint}
    write_json({**done, **known, "seconds": seconds}, folder / "done.json")


def search_settings(
    spec: ModelSpec, inputs: Inputs, options: TrainerOptions, folder: Path, budget: int, progress: bool = False
) -> Settings:
    """The best of `budget` settings on validation; {} stands for the preset's own."""
    if budget == 1:
        return {}
    from tqdm.auto import tqdm

    validation = inputs.splits.validation
    bar = tqdm(total=budget, desc="settings", unit="setting", disable=not progress)

    def measure(settings: Settings) -> float:
        bar.update()
        model = _build(spec, inputs, validation, settings)
        try:
            result = _choose_epochs(model, inputs, _with_settings(options, settings), None)
        except DivergedError:
            logger.info("%s: %s diverges", spec.label, settings)
            return 0.0  # the lowest recall there is: a bad setting is no reason to stop
        logger.info("%s: %s gives %.4f on validation", spec.label, settings or "preset", result.best_value or 0.0)
        return result.best_value or 0.0

    candidates = _candidates(spec, budget)
    key = _identity(spec, inputs, options)
    with bar:
        return best_trial(search(candidates, measure, folder / "search.json", key)).settings


def _candidates(spec: ModelSpec, budget: int) -> list[Settings]:
    episodes = spec.config().loss == "softmax"
    return draw_settings(budget, BACKBONES[spec.backbone].contrastive, episodes, spec.seed)


def _with_settings(options: TrainerOptions, settings: Settings) -> TrainerOptions:
    return replace(options, learning_rate=settings.get("learning_rate", options.learning_rate))


def _identity(spec: ModelSpec, inputs: Inputs, options: TrainerOptions) -> dict[str, Any]:
    # A run may go on with other threads. Of the other two the usual value is not named: folders are older than they.
    unnamed = {"threads": options.threads, "optimizer": "adam", "precision": "float32"}
    named = {name: value for name, value in asdict(options).items() if unnamed.get(name) != value}
    return {
        "spec": asdict(spec),
        "options": named,
        "fingerprint": inputs.splits.fingerprint,
        "vectors": inputs.digest(spec.needs_table),
    }


def _claim(folder: Path, run: dict[str, Any]) -> None:
    """Write what the folder belongs to, or refuse one that belongs to something else: a resumed run must not mix."""
    path = folder / "run.json"
    if not path.is_file():
        write_json(run, path)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    different = [name for name, value in run.items() if found.get(name) != value]
    if different:
        raise ValueError(
            f"{folder} holds a run with other {', '.join(different)}: delete the folder, or choose another name for "
            "this run."
        )


def _choose_epochs(
    model: RecLMRecommender, inputs: Inputs, options: TrainerOptions, folder: Path | None, progress: bool = False
) -> TrainingResult:
    validation = inputs.splits.validation
    with epoch_bar("choosing epochs", options.max_epochs, progress) as on_epoch:
        return choose_epochs(
            model,
            validation,
            lambda tried: selection_value(tried, validation),
            options,
            folder,
            on_epoch,
            fold_profiles=inputs.fold_profiles.get(validation.name),
        )


def _choose(
    spec: ModelSpec, inputs: Inputs, options: TrainerOptions, folder: Path, settings: Settings, progress: bool
) -> dict[str, Any]:
    path = folder / _CHOICE
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    validation = inputs.splits.validation
    model = _build(spec, inputs, validation, settings)
    result = _choose_epochs(model, inputs, _with_settings(options, settings), folder / "choose", progress)
    choice: dict[str, Any] = asdict(result)
    if model.config.floors:
        # The model holds the weights of its best epoch here.
        tried = choose_cold_offset(model, validation)
        choice |= {
            "half_life_days": inputs.half_life_days,
            "cold_offset": model.config.cold_offset,
            "cold_offsets_tried": tried,
        }
    logger.info("%s: epoch %d is best on validation (%.4f)", spec.label, result.best_epoch, result.best_value or 0.0)
    write_json(choice, path)
    return choice


def _build(spec: ModelSpec, inputs: Inputs, split: Split, settings: Settings) -> RecLMRecommender:
    config = spec.config(inputs.encoder, settings)
    if config.floors:
        config.half_life_days = inputs.half_life_days
    profiles, item_profiles = inputs.profiles.get(split.name), inputs.item_profiles.get(split.name)
    return build_recommender(config, inputs.splits.data, split, inputs.item_vectors, profiles, item_profiles)
