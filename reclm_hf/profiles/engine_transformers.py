"""Profiles from a local causal language model, by forced slots.

Small untuned models follow the content of a request but not its format: they run on, repeat themselves and forget the
second half. `TransformersEngine` therefore forces the format: it writes the labels, lets the model fill one slot
after the other, and keeps the first distinct items of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .engines import DEFAULT_MODEL, GeneratedProfile, ProfileRequest
from .forms import CHAT_TOKENS, EXAMPLES_FORM
from .profile import IDENTITY_LABEL, INTERESTS_LABEL, Profile, render
from .prompts import Message
from .slots import SLOTS_VERSION, SlotVocabulary

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .decoding import PromptBatch, SharedPrefix

_TOKENS_AN_ITEM = 8
_USUAL = (1.15, 0.7, 0.9, _TOKENS_AN_ITEM)  # penalty, temperature, top_p, tokens of an item


@dataclass(frozen=True)
class _Prompt:
    """Token ids: what requests with the same examples have in common, and the rest up to the first slot."""

    shared: tuple[int, ...]
    rest: list[int]


class TransformersEngine:
    """Profiles from a local causal language model, by forced slots.

    Args:
        model, tokenizer: a chat model and its tokenizer.
        generator: names both in the profile table.
        batch_size: prompts decoded together.
        tokens_an_item: the most tokens written for a slot are so many times its items.
        repetition_penalty: divides positive and multiplies negative logits of tokens already written in this profile.
            The history is left out of it: its words are what a profile is made of.
        temperature, top_p: of draws: requests with `sample` > 0, and the one retry of an incomplete profile.
        form, max_tokens: that the model was tuned with, see `forms`; for whoever makes the requests.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        generator: str,
        *,
        batch_size: int = 32,
        tokens_an_item: int = _TOKENS_AN_ITEM,
        repetition_penalty: float = _USUAL[0],
        temperature: float = _USUAL[1],
        top_p: float = _USUAL[2],
        form: str = EXAMPLES_FORM,
        max_tokens: int = CHAT_TOKENS,
    ) -> None:
        self.model = model.eval()
        self.slots = SlotVocabulary(tokenizer, model.config.vocab_size)
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.tokens_an_item = tokens_an_item
        self.repetition_penalty = repetition_penalty
        self.temperature = temperature
        self.top_p = top_p
        self.form = form
        self.max_tokens = max_tokens
        settings = (repetition_penalty, temperature, top_p, tokens_an_item)
        named = "" if settings == _USUAL else f", settings {' '.join(map(str, settings))}"
        self.generator = f"{generator}; forced {SLOTS_VERSION}, {str(model.dtype).removeprefix('torch.')}{named}"
        self._prefixes: dict[tuple[int, ...], SharedPrefix] = {}

    @classmethod
    def from_model_id(
        cls,
        model_id: str = DEFAULT_MODEL,
        revision: str | None = None,
        *,
        batch_size: int = 32,
        dtype: str = "auto",
    ) -> TransformersEngine:
        """Load a model by Hub id or folder; see `reclm_hf.bundles.resolve_model`.

        `dtype` "auto" takes bfloat16 where the hardware multiplies it faster than float32, and float32 elsewhere.
        """
        from ..bundles import load_causal_lm

        model, tokenizer, resolved = load_causal_lm(model_id, revision, fast_dtype() if dtype == "auto" else dtype)
        return cls(model, tokenizer, resolved.label, batch_size=batch_size)

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        """One profile for every request, in order. What stays incomplete after one retry is returned as it is."""
        done: dict[int, GeneratedProfile] = {}
        incomplete: list[int] = []
        prompts = [self._prompt(request) for request in requests]
        for rows in self._batches(requests, prompts, range(len(requests))):
            batch = [requests[row] for row in rows]
            seeds = [_seed(request) for request in batch] if batch[0].sample else None
            for row, (profile, result) in zip(
                rows, self._run(batch, [prompts[row] for row in rows], seeds), strict=True
            ):
                done[row] = result
                if not profile.is_complete(requests[row].size):
                    incomplete.append(row)
        for rows in self._batches(requests, prompts, incomplete):
            seeds = [_seed(requests[row], retry=True) for row in rows]
            again = self._run([requests[row] for row in rows], [prompts[row] for row in rows], seeds)
            for row, (profile, result) in zip(rows, again, strict=True):
                first = done[row]
                text = result.text if profile.is_complete(requests[row].size) else first.text
                tokens_in, tokens_out = first.tokens_in + result.tokens_in, first.tokens_out + result.tokens_out
                done[row] = GeneratedProfile(text, tokens_in, tokens_out)
        return [done[row] for row in range(len(requests))]

    def _batches(
        self, requests: Sequence[ProfileRequest], prompts: Sequence[_Prompt], rows: Sequence[int]
    ) -> list[list[int]]:
        """Rows of one kind (beginning, size, language, drawn or not) together, by length, so that little is padded."""
        kinds: dict[tuple[tuple[int, ...], int, str, bool], list[int]] = {}
        for row in rows:
            request = requests[row]
            kind = (prompts[row].shared, request.size, request.language, request.sample > 0)
            kinds.setdefault(kind, []).append(row)
        batches = []
        for group in kinds.values():
            group.sort(key=lambda row: (-sum(len(message["content"]) for message in requests[row].messages), row))
            batches += [group[start : start + self.batch_size] for start in range(0, len(group), self.batch_size)]
        return batches

    def _run(
        self, requests: Sequence[ProfileRequest], prompts: Sequence[_Prompt], seeds: list[int] | None
    ) -> list[tuple[Profile, GeneratedProfile]]:
        size = requests[0].size
        # What names a person is known of English words only.
        kinds = ("identities", "interests") if requests[0].language == "English" else ("any", "any")
        slots, other = (self.slots.of(size, kind) for kind in kinds)
        prefix = self._prefix(prompts[0].shared)
        suffixes = [prompt.rest for prompt in prompts]
        room = 2 * self.tokens_an_item * size
        batch = prefix.batch(suffixes, self.tokenizer.pad_token_id, room=2 * room + 64)
        start = batch.length
        nothing: list[list[str]] = [[] for _ in requests]
        first = self._fill(batch, slots, seeds, nothing, [[] for _ in requests])
        identities = [slots.items(tokens) for tokens in first]
        batch.hide_since(start)
        written = [self._tokens(f" {', '.join(items)}; {INTERESTS_LABEL}") for items in identities]
        batch.read(written)
        second = self._fill(batch, other, seeds, identities, written)
        out = []
        for row, taken in enumerate(identities):
            profile = Profile(tuple(taken), tuple(other.items(second[row], taken)))
            tokens_in = len(prefix.tokens) + len(suffixes[row])
            out.append((profile, GeneratedProfile(render(profile), tokens_in, len(first[row]) + len(second[row]))))
        return out

    def _fill(
        self,
        batch: PromptBatch,
        slots: SlotVocabulary,
        seeds: list[int] | None,
        taken: list[list[str]],
        before: list[list[int]],
    ) -> list[list[int]]:
        """Let the model write one slot of every row; its tokens, the end mark included.

        Greedy after the repetition penalty, or a draw from each row's own generator where seeds are given.

        Args:
            taken: items of the slot before, which must not come again. before: its tokens, for the penalty.
        """
        import torch

        generators = None if seeds is None else [torch.Generator().manual_seed(seed) for seed in seeds]
        penalty = self.repetition_penalty

        def pick(logits: torch.Tensor, rows: list[list[int]]) -> torch.Tensor:
            allowed = [slots.mask(tokens, own) for tokens, own in zip(rows, taken, strict=True)]
            logits = logits.cpu() + torch.stack(allowed)
            for row, tokens in enumerate(rows):
                used = sorted({*before[row], *tokens} - slots.unpenalized)
                values = logits[row, used]
                logits[row, used] = torch.where(values > 0, values / penalty, values * penalty)
            if generators is None:
                return logits.argmax(-1)
            return _draw(logits / self.temperature, self.top_p, generators)

        limit = self.tokens_an_item * slots.size
        return batch.continue_with(pick, lambda row, new: slots.is_full(new, taken[row]), limit)

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _shown(self, examples: Sequence[Message], *, reply: bool = False) -> str:
        messages = [{"role": message["role"], "content": message["content"]} for message in examples]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply))

    def _prefix(self, shared: tuple[int, ...]) -> SharedPrefix:
        from .decoding import SharedPrefix

        if shared not in self._prefixes:
            self._prefixes[shared] = SharedPrefix(self.model, shared)
        return self._prefixes[shared]

    def _prompt(self, request: ProfileRequest) -> _Prompt:
        whole = self._shown([*request.examples, *request.messages], reply=True)
        reply = request.begin + IDENTITY_LABEL
        shown = self._beginning(request.examples)
        if whole.startswith(shown) and shown:
            return _Prompt(tuple(self._tokens(shown)), self._tokens(whole[len(shown) :] + reply))
        if len(request.examples) > 1:
            raise ValueError("this chat template changes earlier messages when later ones follow; use another model")
        first, *rest = self._tokens(whole + reply)
        return _Prompt((first,), rest)

    def _beginning(self, examples: Sequence[Message]) -> str:
        """The examples by themselves; empty for a system message that a template writes into the first request only."""
        from jinja2.exceptions import TemplateError

        try:
            return self._shown(examples)
        except TemplateError:
            if len(examples) > 1:
                raise
            return ""


def fast_dtype() -> str:
    """The precision that this machine decodes fastest in."""
    import torch

    # Without matrix tiles (AMX) a CPU multiplies bfloat16 at half the speed of float32 (measured on AVX-512).
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return "bfloat16" if torch.cuda.is_available() or tiles else "float32"


def _seed(request: ProfileRequest, retry: bool = False) -> int:
    key = f"{request.key}\x00{request.sample}\x00{retry}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")


def _draw(logits: torch.Tensor, top_p: float, generators: list[torch.Generator]) -> torch.Tensor:
    """One token for each row from the smallest set of tokens with probability `top_p`, by the row's own generator."""
    import torch

    values, order = logits.softmax(-1).sort(dim=-1, descending=True)
    values = torch.where(values.cumsum(-1) - values < top_p, values, torch.zeros(()))
    chosen = [int(torch.multinomial(row, 1, generator=g)) for row, g in zip(values, generators, strict=True)]
    return order[torch.arange(len(chosen)), torch.tensor(chosen)]
