"""The states of `later_day`, and recommenders into which a new profile goes without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.baselines.mix import COSINE, Mix
from reclm_hf.data.as_of import state_as_of
from reclm_hf.data.features import center, history_mean, normalize_rows
from reclm_hf.data.splits import Split, Splits
from reclm_hf.pipeline.model_stage import choose_cold_offset

if TYPE_CHECKING:
    from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender

DAY = 86_400_000_000  # microseconds
EPOCHS = 10
STAGES = ("yesterday", "histories", "updated", "anew", "none")


@dataclass(frozen=True)
class Day:
    """The two states, and who did something on the day between them.

    Attributes:
        before, after: `Split`s without targets, as of T0 and T1. test: the targets after T1. changed: rows of users.
        new: those of them without history before T0.
    """

    before: Split
    after: Split
    test: Split
    changed: np.ndarray
    new: np.ndarray

    @classmethod
    def before_test(cls, splits: Splits) -> Day:
        """The day before the test cut.

        Raises:
            ValueError: nothing happened on it.
        """
        cut = splits.test.cut
        if cut is None:
            raise ValueError(f"{splits.data.name}: has no times, so that there is no later day.")
        before, after = (state_as_of(splits.data, time) for time in (cut - DAY, cut))
        assert after.history_time is not None
        changed = np.unique(after.history_user[after.history_time >= cut - DAY])
        if not len(changed):
            raise ValueError(f"{splits.data.name}: nothing happened on the day before {cut}.")
        return cls(before, after, splits.test, changed, np.setdiff1d(changed, before.history_user))


@dataclass(frozen=True)
class Dot:
    """Inner products of user and item vectors, [U, d] and [I, d] float32."""

    users: np.ndarray
    items: np.ndarray

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[B, C] float32."""
        return np.asarray(self.users[users] @ self.items[items].T, dtype=np.float32)


def text_users(state: Split, items: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """[U, d] float32 of length 1: history vector plus profile vector, each of length 1 (or zero) before.

    Args:
        items: [I, d], centred and of length 1. profiles: [U, d], the same.
    """
    return normalize_rows(history_mean(state, items) + profiles)


def mix_of(state: Split, mix: Mix, vectors: np.ndarray, profiles: np.ndarray) -> Mix:
    """The mix fitted on a state, with histories and profiles in its text cosine."""
    fitted = Mix(**mix.params).fit(state, vectors)
    items = fitted.state[f"{COSINE}.items"]
    users = text_users(state, items, profiles)
    scores = users @ items[state.warm].T
    moments = {"mean": scores.mean(axis=1), "std": scores.std(axis=1)}
    fitted.state.update({f"{COSINE}.users": users, **{f"{COSINE}.{name}": part for name, part in moments.items()}})
    return fitted


class Folded:
    """Users folded into a model by the histories of a state and profile vectors [U, d] (None: without)."""

    def __init__(self, model: RecLMRecommender, state: Split, profiles: np.ndarray | None) -> None:
        from reclm_hf.recommender.new_users import Histories

        history = state.history_matrix()
        histories = Histories(history.indptr.astype(np.int64), history.indices.astype(np.int64))
        self.model, self.encoded = model, model.encode_histories(histories, profiles)

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[B, C] float32."""
        import torch

        rows, columns = (torch.as_tensor(np.asarray(index)) for index in (users, items))
        with torch.no_grad():
            return np.asarray(self.encoded.scores(self.model.backbone, rows, columns).numpy())


def model_of_yesterday(
    day: Day, splits: Splits, vectors: np.ndarray, chosen_with: np.ndarray, profiles: np.ndarray
) -> RecLMRecommender:
    """Trained on state A for a fixed number of epochs; the level of cold items is that of a twin on validation.

    Args:
        chosen_with: [U, d] profile vectors as of the validation cut. profiles: as of T0.
    """
    from reclm_hf.recommender.build import build_recommender
    from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
    from reclm_hf.recommender.trainer import TrainerOptions, fit

    def trained(split: Split, given: np.ndarray) -> RecLMRecommender:
        config = RecLMRecommenderConfig(backbone="bias_mf", preset="floor_residual", profile_mode="llm")
        model = build_recommender(config, splits.data, split, vectors, given)
        fit(model, split, EPOCHS, TrainerOptions())
        return model

    twin = trained(splits.validation, chosen_with)
    choose_cold_offset(twin, splits.validation)
    model = trained(day.before, profiles)
    model.config.cold_offset = twin.config.cold_offset
    return model


def scorers(
    day: Day, vectors: np.ndarray, profiles: dict[str, np.ndarray], mix: Mix, model: RecLMRecommender
) -> Iterator[tuple[str, Any]]:
    """(label, scorer) of every recommender and stage.

    Args:
        profiles: `yesterday`, `updated`, `anew` -> [U, d] encoder vectors, zero rows for users without one.
    """
    written = profiles["yesterday"].any(axis=1)
    mean = profiles["yesterday"][written].mean(axis=0)
    nothing = np.zeros_like(profiles["yesterday"])
    for stage in STAGES:
        state = day.before if stage == "yesterday" else day.after
        raw = profiles["yesterday"] if stage == "histories" else profiles.get(stage)
        given = nothing if raw is None else normalize_rows((raw - mean) * raw.any(axis=1, keepdims=True))
        items = center(vectors, state.warm)[0]
        yield f"cosine/{stage}", Dot(text_users(state, items, given), items)
        yield f"mix/{stage}", mix_of(state, mix, vectors, given)
        yield f"model/{stage}", Folded(model, state, raw)
