"""`RecLMProfiler`: a chat model, with or without an adapter, that writes profiles and answers Yes or No."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundles import ResolvedModel
from ..profiles.dialogues import answer_words
from ..profiles.instructions import MAX_TOKENS
from ..profiles.instructions import neighbor_rows as written_with
from ..profiles.profile import USER_ITEMS
from .answers import first_answer_probabilities
from .configuration_reclm_profiler import RecLMProfilerConfig, installed_versions
from .files import write_folder
from .loading import load_parts
from .predicting import Questions, context_limit, item_rows
from .processing_reclm_profiler import RecLMProfilerProcessor
from .sources import Source, known_before, neighbor_rows, user_rows
from .weights import digest, is_adapted, merged, write_adapter

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

    from ..data.splits import Split
    from ..profiles.engine_transformers import TransformersEngine

logger = logging.getLogger(__name__)

SAMPLING: dict[str, Any] = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 64}
"""What is written for a model that says nothing of sampling; 64 tokens hold a profile of 3+3."""


class RecLMProfiler:
    """A language model that reads histories and writes profiles (RecLM section 2.3), with what goes with it.

    Load one with `from_pretrained`; after tuning, build one from the tuned model.

    Args:
        model: a causal language model of transformers, or a PEFT model with a LoRA adapter on one.
        tokenizer: its tokenizer, with a chat template.
        config: what it was made of; the layout and the size of the vocabulary are taken from the model.
        origin: what the column `generator` calls it; None: its name and the checksum of its weights.

    Raises:
        ValueError: the tokenizer has more tokens than the model has embeddings, or no chat template.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        config: RecLMProfilerConfig,
        *,
        origin: str | None = None,
    ) -> None:
        layout = "adapter" if is_adapted(model) else "merged"
        size = len(model.get_input_embeddings().weight)  # type: ignore[arg-type]
        if len(tokenizer) > size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens and {config.base_model} embeddings for {size}: they do not "
                "belong together"
            )
        if config.base_vocab_size not in (None, size):
            raise ValueError(
                f"the base model {config.base_model} has {size} embeddings, the profiler was made on one with "
                f"{config.base_vocab_size}: it is another model"
            )
        self.config = replace(config, layout=layout, base_vocab_size=size)
        self.processor = RecLMProfilerProcessor(tokenizer, self.config)
        self.model: Any = model.eval()
        self._origin = origin
        self._name = "profiler"

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, padded on the left."""
        return self.processor.tokenizer

    @property
    def label(self) -> str:
        """What wrote a profile, as the column `generator` names it: repository and commit, or name and checksum."""
        if self._origin is not None:
            return self._origin
        named = f"{self._name} sha256:{digest(self.model)[:12]}"
        return f"{named} on {self.config.base_label or self.config.base_model}" if is_adapted(self.model) else named

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        *,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        dtype: str = "auto",
        device: str | torch.device | None = None,
        base_model: str | None = None,
        merge: bool = False,
        trainable: bool = False,
    ) -> RecLMProfiler:
        """Load a profiler, a stock LoRA adapter, or a chat model that was not tuned for profiles.

        `profiler_config.json` is read first; without one, `adapter_config.json` or `config.json` tell what it is. An
        adapter is put on the base model that is named with it, at the commit that is named with it; where the Hub
        cannot be reached a bundle may stand in, and says so (`reclm_hf.bundles`). Only safetensors are read.

        Args:
            source: Hub id or folder. revision: its commit, tag or branch.
            token, cache_dir, local_files_only: as of `huggingface_hub`; for the base model too.
            dtype: "auto" takes that of the configuration, which may leave it to what is fast on this machine.
            device: None takes the first GPU where there is one.
            base_model: takes the place of the base model's name in the repository, if that is where it lies elsewhere.
            merge: add the adapter to the weights in memory; it cannot be saved as an adapter again.
            trainable: load the adapter to be tuned further.

        Raises:
            OSError: files cannot be found or fetched, or are missing.
            ValueError: weights only as a pickle, a configuration that means nothing, a base model that does not fit.
        """
        options: dict[str, Any] = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        parts = load_parts(str(source), revision, dtype, base_model, trainable=trainable, **options)
        profiler = cls(parts.model.to(_device(device)), parts.tokenizer, parts.config)
        profiler._name_after(parts.found)
        if merge and is_adapted(profiler.model):
            label = f"{profiler.label}, merged"
            return cls(profiler.model.merge_and_unload(), parts.tokenizer, parts.config, origin=label)
        return profiler

    def _name_after(self, found: ResolvedModel) -> None:
        if found.revision is None:
            self._name = Path(found.path).resolve().name
        elif is_adapted(self.model):
            self._origin = f"{found.label} on {self.config.base_label}"
        else:
            self._origin = found.label

    def save_pretrained(self, folder: str | Path, *, merge: bool = False) -> None:
        """Write the profiler as plain files: PEFT's layout for an adapter, the base architecture's for a whole model.

        Beside them stand the tokenizer with `chat_template.jinja`, `generation_config.json` and `profiler_config.json`.
        Weights are safetensors. The base model is named by its id, never by where its files lie.

        Args:
            merge: write an adapted model as a whole one; the model in memory keeps its adapter.

        Raises:
            FileExistsError: the folder holds a model of the other layout.
            OSError: it could not be written.
        """
        adapter = is_adapted(self.model) and not merge
        config = replace(self.config, layout="adapter" if adapter else "merged", versions=installed_versions())
        base = Path(config.base_model).expanduser()
        if base.is_dir():
            if adapter:
                logger.warning("the base model %s is a folder: the adapter loads where that is", config.base_model)
            else:
                config = replace(config, base_model=base.resolve().name)

        def write(fresh: Path) -> None:
            if adapter:
                write_adapter(self.model, config, fresh)
            else:
                whole = merged(self.model) if is_adapted(self.model) else self.model
                whole.save_pretrained(fresh)
            _sampling(self.model.generation_config).save_pretrained(fresh)
            self.tokenizer.save_pretrained(fresh)
            config.save(fresh)

        write_folder(folder, write, layout=config.layout)

    def engine(self, batch_size: int = 8) -> TransformersEngine:
        """What writes the profiles: this model with forced slots; draws as `generation_config.json` says."""
        from ..profiles.engine_transformers import TransformersEngine

        sampling = _sampling(self.model.generation_config)
        return TransformersEngine(
            self.model,
            self.tokenizer,
            self.label,
            batch_size=batch_size,
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            top_p=1.0 if sampling.top_p is None else sampling.top_p,
            form=self.config.form,
            max_tokens=context_limit(self.model, self.config.max_tokens),
        )

    def generate_profiles(
        self,
        data: Source,
        users: Sequence[str] | None = None,
        *,
        items: pd.DataFrame | None = None,
        neighbors: np.ndarray | None = None,
        as_of: str | pd.Timestamp | None = None,
        period: str = "test",
        batch_size: int = 8,
        folder: str | Path | None = None,
        progress: bool = True,
    ) -> datasets.Dataset:
        """Profiles of users (eq. 5), as rows of the table `user_profiles`.

        They are asked for in the form that the configuration names. Only what lies before the cut is read: of a split
        its history, of splits that of `period`, of plain tables everything before `as_of` (the train rows, where the
        data name a test set). The column `as_of` says which.

        Args:
            data: a `Split`, `Splits`, `Interactions`, `{"items": ..., "interactions": ...}`, or an interactions table.
            users: ids; None: everybody with history.
            items: the item table, with a `Split` or an interactions table.
            neighbors: float [U, d] user vectors or int [U, n] rows of similar users, in the order of the sorted user
                ids; None: no neighbours are shown, and `neighbors_by` says "none".
            folder: keeps finished shards, so that a second call goes on where the first one stopped.

        Returns:
            One row a user, in the order of `users`; malformed profiles are there, with a `format_score` below 1.

        Raises:
            KeyError: a user that the history does not have. TableError: tables that cannot be used.
        """
        import datasets
        import pyarrow.parquet as pq

        from ..data.tables import PROFILE_COLUMNS, write_parquet

        split, items = known_before(data, items, as_of=as_of, period=period)
        rows = user_rows(split, users)
        near = neighbor_rows(neighbors, split, self.config.neighbors)
        with tempfile.TemporaryDirectory() as scratch:
            shards = Path(scratch) if folder is None else Path(folder)
            table = self._write(split, items, rows, near, shards, batch_size, progress)
            path = Path(scratch) / "user_profiles.parquet"
            write_parquet(table, path, PROFILE_COLUMNS)
            return datasets.Dataset(pq.read_table(path))

    def _write(
        self,
        split: Split,
        items: pd.DataFrame,
        users: np.ndarray,
        neighbors: np.ndarray,
        shards: Path,
        batch_size: int,
        progress: bool,
    ) -> pd.DataFrame:
        from ..profiles.generate import generate_user_profiles

        if self.config.user_size != USER_ITEMS:
            raise ValueError(f"user_size={self.config.user_size}: this version writes profiles with {USER_ITEMS}.")
        return generate_user_profiles(
            split,
            items,
            neighbors,
            self.engine(batch_size),
            shards,
            users=users,
            style=self.config.style,
            history_items=self.config.history_items,
            neighbor_items=self.config.neighbor_items,
            progress=progress,
            form=self.config.form,
            tokenizer=self.tokenizer,
            max_tokens=context_limit(self.model, self.config.max_tokens),
        )

    def predict_interaction(self, user: str, item: str, data: Source, **options: Any) -> float:
        """The probability that a user takes an item; arguments are those of `predict_interactions`."""
        return float(self.predict_interactions([(user, item)], data, **options)[0])

    def predict_interactions(
        self,
        pairs: Sequence[tuple[str, str]],
        data: Source,
        *,
        items: pd.DataFrame | None = None,
        profiles: pd.DataFrame | datasets.Dataset | None = None,
        neighbors: np.ndarray | None = None,
        as_of: str | pd.Timestamp | None = None,
        period: str = "test",
        max_tokens: int = MAX_TOKENS,
        batch_size: int = 8,
        progress: bool = True,
    ) -> np.ndarray:
        """float64 [n]: the probability that each user takes each item, from the logits of Yes and No.

        The model is shown the dialogue that it is tuned on (eq. 3-4): what the user and similar users chose, their
        profiles as its own first reply, and the question about the item. An item of the user's history is not shown
        among the user's own items when it is asked about. NaN stands where nothing could be asked (no well-formed
        profile, no other item, too few tokens); the reasons are logged.

        Args:
            pairs: ids of users and items.
            data, items, neighbors, as_of, period: as of `generate_profiles`. Without `neighbors`, those that are named
                in `profiles` are shown.
            profiles: rows of `user_profiles` as of the same cut, of the neighbours too; None: they are written now.
            max_tokens: of a whole dialogue; histories lose their oldest items until it fits.

        Raises:
            KeyError: an unknown user or item, or a user without history. TableError: tables that cannot be used.
        """
        import datasets

        split, items = known_before(data, items, as_of=as_of, period=period)
        users, asked = user_rows(split, [user for user, _ in pairs]), item_rows(split, [item for _, item in pairs])
        table: Any = profiles.to_pandas() if isinstance(profiles, datasets.Dataset) else profiles
        if table is not None and neighbors is None:
            near = written_with(table, split)
        else:
            near = neighbor_rows(neighbors, split, self.config.neighbors)
        if table is None:
            people = np.intersect1d(np.union1d(users, near[users]), split.history_user)
            with tempfile.TemporaryDirectory() as scratch:
                table = self._write(split, items, people, near, Path(scratch), batch_size, progress)
        limit = context_limit(self.model, max_tokens)
        questions = Questions.of(split, items, table, self.tokenizer, limit, self.config.style)
        places, chats = questions.chats(users, asked, near)
        found = np.full(len(pairs), np.nan)
        found[places] = first_answer_probabilities(
            self.model, self.processor, chats, answer_words(), batch_size=batch_size, progress=progress
        )
        return found


def _device(asked: str | torch.device | None) -> torch.device:
    import torch

    return torch.device(asked if asked is not None else "cuda" if torch.cuda.is_available() else "cpu")


def _sampling(settings: GenerationConfig) -> GenerationConfig:
    """A copy of a model's generation settings, with `SAMPLING` where they leave open whether to sample."""
    chosen = copy.deepcopy(settings)
    if chosen.do_sample is None:
        chosen.update(**{name: value for name, value in SAMPLING.items() if getattr(chosen, name) is None})
    chosen._from_model_config = False
    return chosen
