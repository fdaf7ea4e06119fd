"""`RewardModel`: one number for a reply to a prompt, read at the reply's end token (RecLM eq. 6).

A folder is either PEFT's own layout (`adapter_config.json`, `adapter_model.safetensors` with the head) or a whole
sequence classification model (`config.json`, `model.safetensors`), so that peft and transformers open it without this
package. `reward_config.json` stands beside.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bundles import ResolvedModel
from ...profiler.configuration_reclm_profiler import PROFILER_CONFIG, installed_versions
from ...profiler.files import fetch, require_weights, write_folder
from ...profiler.processing_reclm_profiler import load_tokenizer
from ...whole_models import refuse_missing
from ..chat_templates import end_token_ids
from .configuration import REWARD_CONFIG, RewardModelConfig
from .configuration import require_accuracy as require_accuracy
from .files import AdapterParts, load_adapted, load_scorer, require_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ...profiles.prompts import Message

logger = logging.getLogger(__name__)

_PROBES: tuple[tuple[str, str], ...] = (
    ("One, two?", "Three."),
    ("Four, five, six: what comes next, and what comes after that?", "Seven and eight, nine"),
)


class RewardModel:
    """Scores replies: higher is better.

    Args:
        model: a sequence classification model of one label, whole (an adapter is merged), with its head in `score`.
        tokenizer: its template ends a chat with the reply's end token; its padding token ends nothing.
        config: what it was made of; the layout says how it is saved.
        adapter: what was merged in; needed for the layout "adapter".

    Raises:
        ValueError: a model without such a head, or a layout that cannot be written.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: RewardModelConfig,
        adapter: AdapterParts | None = None,
    ) -> None:
        head = getattr(model, "score", None)
        if head is None or len(head.weight) != 1:
            raise ValueError(f"{type(model).__name__} on {config.base_model} has no head `score` with one output")
        if config.layout == "adapter" and adapter is None:
            raise ValueError("the layout 'adapter' needs the adapter; use 'merged'")
        self.model: Any = model.eval()
        self.tokenizer = tokenizer
        self.config = config
        self._adapter = adapter

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        *,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        dtype: str = "float32",
    ) -> RewardModel:
        """Load what `reclm reward` wrote, on the CPU; an adapter is put on its base model and merged in memory.

        Args:
            source: Hub id or folder. revision: its commit, tag or branch.
            token, cache_dir, local_files_only: as of `huggingface_hub`; for the base model too.
            dtype: of the weights in memory.

        Raises:
            OSError: files cannot be found or fetched, or are missing; the folder is no reward model.
            ValueError: no weights of the head, other weights that are missing or broken, or a base model that does not
                fit.
        """
        options: dict[str, Any] = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        found = fetch(str(source), revision, **options)
        folder = Path(found.path)
        config = RewardModelConfig.load(folder)
        require_weights(folder, config.layout)
        require_head(folder, config.layout)
        tokenizer = load_tokenizer(folder)
        adapter = None
        if config.layout == "adapter":
            base = fetch(config.base_model, config.base_revision, **options)
            _compare_bases(config, base)
            model, adapter = load_adapted(base, folder, dtype)
        else:
            model, missing = load_scorer(folder, dtype)
            refuse_missing(folder, missing)
        model.config.pad_token_id = tokenizer.pad_token_id
        model.name_or_path = model.config._name_or_path = config.base_model
        return cls(model, tokenizer, config, adapter)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model in its layout, the tokenizer and `reward_config.json`; weights are safetensors.

        Raises:
            FileExistsError: the folder holds a profiler or a model of the other layout.
            OSError: it could not be written.
        """
        folder = Path(folder)
        if (folder / PROFILER_CONFIG).exists():
            raise FileExistsError(f"{folder} holds a profiler; choose another folder for the reward model")
        config = replace(self.config, versions=installed_versions())

        def write(fresh: Path) -> None:
            if self._adapter is not None and config.layout == "adapter":
                self._adapter.write(fresh, config.base_model, config.base_revision)
            else:
                self.model.save_pretrained(fresh)
            self.tokenizer.save_pretrained(fresh)

        (folder / REWARD_CONFIG).unlink(missing_ok=True)
        write_folder(folder, write, layout=config.layout)
        config.save(folder)  # last: a folder without it was not finished

    def encode(self, prompt: Sequence[Message], reply: str) -> list[int]:
        """Token ids of a prompt with a reply, which end with the reply's end token."""
        return encode_chat(self.tokenizer, [*prompt, {"role": "assistant", "content": reply}])

    def score(self, prompts: Sequence[Sequence[Message]], replies: Sequence[str], batch_size: int = 8) -> np.ndarray:
        """float64 [n]: the scores of replies, each to its own prompt.

        Raises:
            ValueError: as many prompts as replies are needed, and each pair must fit into what the model reads.
        """
        if len(prompts) != len(replies):
            raise ValueError(f"{len(prompts)} prompts for {len(replies)} replies: give one for each.")
        return self.score_ids(
            [self.encode(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)], batch_size
        )

    def score_ids(self, chats: Sequence[Sequence[int]], batch_size: int = 8) -> np.ndarray:
        """float64 [n]: the same for chats as `encode` returns them."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        for row, chat in enumerate(chats):
            if limit is not None and len(chat) > limit:
                raise ValueError(f"chat {row} has {len(chat)} tokens, the reward model reads {limit}: shorten it")
        found = np.empty(len(chats))
        # Chats of one length together: little is padded.
        order = sorted(range(len(chats)), key=lambda row: (len(chats[row]), row))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            found[rows] = batch_scores(self.model, [chats[row] for row in rows], self.tokenizer.pad_token_id)
        return found


def _compare_bases(config: RewardModelConfig, base: ResolvedModel) -> None:
    if config.base_label and base.revision is not None and config.base_label != base.label:
        logger.warning("the reward model was made on %s and is put on %s", config.base_label, base.label)


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, reply: bool = False) -> list[int]:
    """Token ids of a chat by the tokenizer's template; with `reply` up to where the next reply begins."""
    plain = [{"role": message["role"], "content": message["content"]} for message in messages]
    text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=reply)
    return list(tokenizer.encode(text, add_special_tokens=False))


def batch_scores(model: Any, chats: Sequence[Sequence[int]], pad: int, *, left: bool = False) -> np.ndarray:
    """float64 [n]: scores of chats as token ids in one batch, padded on the right or on the left."""
    import torch

    width = max(map(len, chats))
    ids = torch.full((len(chats), width), pad, dtype=torch.long)
    mask = torch.zeros((len(chats), width), dtype=torch.long)
    for row, chat in enumerate(chats):
        place = slice(width - len(chat), width) if left else slice(len(chat))
        ids[row, place] = torch.tensor(list(chat))
        mask[row, place] = 1
    # Counted from the first token of the chat, wherever the padding stands.
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            use_cache=False,
        ).logits
    scores: np.ndarray = logits[:, 0].double().cpu().numpy()
    return scores


def assert_score_position(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check on two chats that a reply is scored at its end token, in every way that scores are ever read.

    Compared with the head at the end token of each chat alone: batches padded on the right (as in training) and on the
    left, and what TRL's PPO reads (`get_reward`) from prompt, reply and padding in one row.

    Args:
        model: whole, with its head in `score`. tokenizer: with the template that replies are scored under; the same
            prompts must be the beginnings of the chats.

    Raises:
        ValueError: a score is read elsewhere, a chat goes on behind the reply's end token, or the padding token ends
            replies; says which.
    """
    pad, ends = tokenizer.pad_token_id, end_token_ids(tokenizer)
    if pad is None or pad in ends or model.config.pad_token_id != pad:
        raise ValueError(
            f"padding: the tokenizer's token is {pad}, the model's {model.config.pad_token_id}, and replies end with "
            f"{sorted(ends)}. The first two must be the same, and no end token."
        )
    prompts: list[list[Message]] = [[{"role": "user", "content": question}] for question, _ in _PROBES]
    chats, contexts = [], []
    for prompt, (_, reply) in zip(prompts, _PROBES, strict=True):
        contexts.append(encode_chat(tokenizer, prompt, reply=True))
        chats.append(encode_chat(tokenizer, [*prompt, {"role": "assistant", "content": reply}]))
        if chats[-1][: len(contexts[-1])] != contexts[-1] or chats[-1][-1] not in ends or pad in chats[-1]:
            shown = tokenizer.decode(chats[-1])
            raise ValueError(
                f"the chat {shown!r} does not begin with its prompt and end with the reply's end token: scores would "
                "be read elsewhere. Put a chat_template.jinja into the model's folder that writes nothing behind the "
                "end token of a chat's last reply."
            )
    training = model.training
    model.eval()
    try:
        wanted = np.array([_head_at_end(model, chat) for chat in chats])
        found = {
            "padded on the right": batch_scores(model, chats, pad),
            "padded on the left": batch_scores(model, chats, pad, left=True),
            "by TRL's get_reward": _as_ppo(model, chats, contexts, pad),
        }
    finally:
        model.train(training)
    half = str(model.dtype) in ("torch.bfloat16", "torch.float16")
    allowed = (0.1 if half else 1e-3) * max(1.0, float(np.abs(wanted).max()))
    for way, scores in found.items():
        if not np.allclose(scores, wanted, rtol=0, atol=allowed):
            raise ValueError(f"scores {way} are {scores.tolist()}, at the end tokens they are {wanted.tolist()}")


def _head_at_end(model: Any, chat: Sequence[int]) -> float:
    """The head on the last hidden state of one chat, without padding."""
    import torch

    ids = torch.tensor([list(chat)], device=next(model.parameters()).device)
    with torch.inference_mode():
        hidden = getattr(model, model.base_model_prefix)(input_ids=ids, use_cache=False).last_hidden_state
        return float(model.score(hidden[:, -1])[0, 0])


def _as_ppo(model: Any, chats: Sequence[list[int]], contexts: Sequence[list[int]], pad: int) -> np.ndarray:
    """Scores as PPO reads them: prompts padded on the left to one length, replies on the right."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may change: hence the pinned version
        from trl.experimental.utils import get_reward

    before = max(map(len, contexts))
    after = 1 + max(len(chat) - len(context) for chat, context in zip(chats, contexts, strict=True))
    rows = [
        [pad] * (before - len(context)) + chat + [pad] * (after - len(chat) + len(context))
        for chat, context in zip(chats, contexts, strict=True)
    ]
    with torch.inference_mode():
        ids = torch.tensor(rows, device=next(model.parameters()).device)
        _, scores, _ = get_reward(model, ids, pad, before)
    read: np.ndarray = scores.double().cpu().numpy()
    return read
