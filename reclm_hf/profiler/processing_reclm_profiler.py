"""From histories and item tables to token ids, and from a model's text back to profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..profiles.profile import Profile, parse
from ..profiles.prompts import Message, examples, item_lines, user_message
from .configuration_reclm_profiler import RecLMProfilerConfig
from .files import fetch, read_config

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


class RecLMProfilerProcessor:
    """Renders requests by a tokenizer's chat template, and reads what comes back.

    Args:
        tokenizer: of a chat model. It is set up for generation: padded on the left, by a token that ends nothing where
            it has one.
        config: tells how items are shown and how many.

    Raises:
        ValueError: the tokenizer has no chat template, or nothing to pad with.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: RecLMProfilerConfig) -> None:
        from ..bundles import PAD_TOKEN

        if not tokenizer.chat_template:
            raise ValueError(
                f"the tokenizer of {config.base_model} has no chat template: use a chat (instruct) model, or set "
                "tokenizer.chat_template"
            )
        tokenizer.padding_side = "left"
        if PAD_TOKEN in tokenizer.get_vocab():
            tokenizer.pad_token = PAD_TOKEN
        elif tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token is None:
            raise ValueError(f"the tokenizer of {config.base_model} has neither a padding nor an end token")
        self.tokenizer = tokenizer
        self.config = config

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        *,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> RecLMProfilerProcessor:
        """The processor of a profiler's repository or folder, without its weights being read.

        An adapter repository without a tokenizer of its own takes the base model's.

        Raises:
            OSError, ValueError: see `RecLMProfiler.from_pretrained`.
        """
        options: dict[str, Any] = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        found = fetch(str(source), revision, **options, weights=False)
        config = read_config(found)
        folder = found.path
        if config.layout == "adapter" and not has_tokenizer(folder):
            folder = fetch(config.base_model, config.base_revision, **options, weights=False).path
        return cls(load_tokenizer(folder), config)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer, `chat_template.jinja` and `profiler_config.json`."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        self.config.save(folder)

    def messages(
        self,
        history: Sequence[str],
        items: pd.DataFrame,
        similar: Sequence[str] = (),
        shares: Mapping[str, float] | None = None,
    ) -> list[Message]:
        """The chat that asks for one user's profile.

        Args:
            history: item ids, most recent first. items: the item table; `item_id` and `title` or `text` are needed.
            similar: item ids of similar users, which the user does not have.
            shares: category -> its share of all interactions; see `reclm_hf.profiles.prompts.standout`.

        Raises:
            KeyError: an item id that the table does not have.
        """
        return self._messages([history], items, [similar], shares)[0]

    def render(
        self,
        histories: Sequence[Sequence[str]],
        items: pd.DataFrame,
        similar: Sequence[Sequence[str]] | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> list[list[int]]:
        """Token ids of the requests for the profiles of some users, the beginning of the reply included; unpadded.

        Args and errors: as of `messages`, one history (and one list of similar items) for each user.
        """
        near = [()] * len(histories) if similar is None else similar
        return [self.encode(messages) for messages in self._messages(histories, items, near, shares)]

    def _messages(
        self,
        histories: Sequence[Sequence[str]],
        items: pd.DataFrame,
        similar: Sequence[Sequence[str]],
        shares: Mapping[str, float] | None,
    ) -> list[list[Message]]:
        from ..data.tables import validate_items

        items = validate_items(items, "items")
        lines = dict(zip(items["item_id"], item_lines(items, self.config.style), strict=True))
        unknown = sorted({item for rows in (*histories, *similar) for item in rows if item not in lines})
        if unknown:
            raise KeyError(f"the item table has no {', '.join(map(repr, unknown[:3]))}; add them or leave them out")
        beginning = examples(self.config.style)
        chats: list[list[Message]] = []
        for history, near in zip(histories, similar, strict=True):
            whole = [lines[item] for item in history]
            request = user_message(whole[: self.config.history_items], [lines[item] for item in near], shares, whole)
            chats.append([*beginning, request])
        return chats

    def text(self, messages: Sequence[Message], *, reply: bool = True) -> str:
        """A chat by the template; with `reply` it ends where the model's answer begins."""
        plain = [{"role": message["role"], "content": message["content"]} for message in messages]
        return str(self.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=reply))

    def encode(self, messages: Sequence[Message], *, reply: bool = True) -> list[int]:
        """Token ids of `text`."""
        return list(self.tokenizer.encode(self.text(messages, reply=reply), add_special_tokens=False))

    def parse(self, text: str, size: int | None = None) -> Profile:
        """The profile in a model's text, `size` identities and interests at most (None: those of a user's profile)."""
        return parse(text, self.config.user_size if size is None else size)


def has_tokenizer(folder: str | Path) -> bool:
    """Whether a folder has a tokenizer of its own."""
    return any((Path(folder) / name).is_file() for name in _TOKENIZER_FILES)


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; see `reclm_hf.whole_models.load_tokenizer`."""
    from ..whole_models import load_tokenizer as load

    return load(folder)
