"""Which profile a positive is trained with: a profile written from the whole history contains the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from reclm_hf.data.features import history_mean, normalize_rows
from reclm_hf.data.folds import N_FOLDS, fold_of_rows, time_folds
from reclm_hf.data.splits import Split

if TYPE_CHECKING:
    from .modeling_reclm_recommender import RecLMRecommender


class ProfileFit:
    """The profiles of the users for the rows of a history; this one is `full`: always those of the model."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows

    def groups(self) -> list[np.ndarray]:
        """Rows of the history that may be trained in one batch, int64; every row is in one group."""
        return [np.arange(self.n_rows)]

    def users(self, group: int, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor | None:
        """[U, profile_dim] profiles for a batch of a group; None stands for the model's own.

        Args:
            user, item: [B] int64, the positives of the batch.
        """
        return None

    def at(self, cut: int | None) -> torch.Tensor | None:
        """[U, profile_dim] profiles for a time block that begins at `cut` (microseconds); None for the model's own."""
        return None


class LeaveOut(ProfileFit):
    """`leave_one_out` of `raw_text`: a user's mean is taken without the positives of the batch."""

    def __init__(self, model: RecLMRecommender, split: Split) -> None:
        super().__init__(len(split.history_user))
        self.item_text = model.item_text
        summed = split.history_matrix() @ model.item_text.cpu().numpy()
        self.summed = torch.from_numpy(summed.astype(np.float32)).to(model.device)
        self.full = functional.normalize(self.summed, dim=1)

    def users(self, group: int, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor | None:
        """See the base class."""
        touched, place = user.unique(return_inverse=True)
        rest = self.summed[touched].index_add(0, place, -self.item_text[item])
        # What is left of a history of one item is rounding, not a direction.
        rest = torch.where(rest.norm(dim=1, keepdim=True) > 1e-4, functional.normalize(rest, dim=1), 0.0)
        return self.full.index_copy(0, touched, rest)


class CrossFit(ProfileFit):
    """`cross_fit`: each half of the history, by time, is trained with profiles written from the other half."""

    def __init__(self, split: Split, tables: list[torch.Tensor]) -> None:
        """Args: tables: [U, profile_dim] profiles written from the earlier and from the later half."""
        super().__init__(len(split.history_user))
        assert split.history_time is not None
        self.fold = fold_of_rows(split)
        self.boundary = int(split.history_time[self.fold == 1].min())
        self.tables = tables

    def groups(self) -> list[np.ndarray]:
        """See the base class."""
        return [np.flatnonzero(self.fold == number) for number in range(N_FOLDS)]

    def users(self, group: int, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor | None:
        """See the base class."""
        return self.tables[1 - group]

    def at(self, cut: int | None) -> torch.Tensor | None:
        """See the base class."""
        return self.tables[0 if cut is not None and cut >= self.boundary else 1]


def make_profile_fit(
    model: RecLMRecommender, split: Split, fold_profiles: list[np.ndarray] | None = None
) -> ProfileFit:
    """What `profile_fit` of the model's configuration asks for.

    Args:
        fold_profiles: for `cross_fit` of written profiles, [U, profile_dim] encoder vectors of the profiles that were
            written from the earlier and from the later half of the history (`time_folds`).

    Raises:
        ValueError: `cross_fit` without these vectors.
        TableError: `cross_fit` on data without times.
    """
    config = model.config
    if not config.user_profiles or config.profile_fit == "full":
        return ProfileFit(len(split.history_user))
    if config.profile_fit == "leave_one_out":
        return LeaveOut(model, split)
    if config.profile_mode == "raw_text":
        vectors = [history_mean(part, model.item_text.cpu().numpy()) for part in time_folds(split)]
    elif config.profile_mode == "constant":
        return ProfileFit(len(split.history_user))  # the mean profile tells nothing of anybody
    elif fold_profiles is None:
        raise ValueError(
            "profile_fit='cross_fit' needs profiles written from each half of the history: run `reclm profiles build "
            "--cross-fit` and train with its folder."
        )
    else:
        mean = model.profile_mean.cpu().numpy()
        vectors = [normalize_rows((part - mean) * (np.abs(part).sum(1, keepdims=True) > 0)) for part in fold_profiles]
    return CrossFit(split, [torch.from_numpy(part).to(model.device) for part in vectors])
