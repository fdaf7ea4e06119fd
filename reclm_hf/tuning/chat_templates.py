"""Chat templates for training: with marks around what the model says, byte for byte the tokenizer's own otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..profiles.prompts import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATES = Path(__file__).parent / "templates"
_MARK = "{% generation %}"
_USER: Message = {"role": "user", "content": "One, two?\n\nThree."}
_REPLY: Message = {"role": "assistant", "content": "Four: five, six"}
_SYSTEM: Message = {"role": "system", "content": "Count. \n on"}
_PROBES: tuple[tuple[list[Message], bool], ...] = (
    ([_SYSTEM, _USER, _REPLY], False),
    ([_SYSTEM, _USER, _REPLY, _USER, _REPLY], False),
    ([_SYSTEM, _USER], True),
    ([_USER, _REPLY, _USER], True),
)


def training_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """A template that renders what the tokenizer's own does and marks the replies (`{% generation %}`).

    The tokenizer's own if it has the marks, else one that ships with this package, else one that TRL knows.

    Raises:
        ValueError: none is known; says what to do.
    """
    if tokenizer.chat_template is None:
        raise ValueError(
            f"{tokenizer.name_or_path or 'this tokenizer'} has no chat template: it is no chat model. Name one "
            "that was tuned for chats (its instruct or chat version), or put a chat_template.jinja into its folder."
        )
    own = str(tokenizer.chat_template)
    if _MARK in own.replace("{%-", "{%").replace("-%}", "%}"):
        return own
    wanted = [_render(tokenizer, own, *probe) for probe in _PROBES]
    for path in sorted(TEMPLATES.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        if [_render(tokenizer, template, *probe) for probe in _PROBES] == wanted:
            return template
    return _of_trl(tokenizer)


def _of_trl(tokenizer: PreTrainedTokenizerBase) -> str:
    from trl.chat_template_utils import get_training_chat_template

    try:
        found = get_training_chat_template(tokenizer)
    except ValueError as error:
        raise ValueError(
            f"the chat template of {tokenizer.name_or_path or 'this tokenizer'} does not say which tokens are replies, "
            "and no version of it that does is known. Put {% generation %} and {% endgeneration %} around the reply "
            "and its end token in the model's chat_template.jinja."
        ) from error
    return str(tokenizer.chat_template if found is None else found)


def _render(tokenizer: PreTrainedTokenizerBase, template: str, messages: Sequence[Message], reply: bool) -> str | None:
    """The chat by a template; None where the template refuses it (some know no system message)."""
    from jinja2 import TemplateError

    plain: Any = [dict(message) for message in messages]
    try:
        return str(
            tokenizer.apply_chat_template(plain, chat_template=template, tokenize=False, add_generation_prompt=reply)
        )
    except TemplateError:
        return None


def end_token_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that a reply may end with: the one that the template writes behind it, and the end-of-text token."""
    tokens, marks = encode_with_marks(tokenizer, [_USER, _REPLY], training_template(tokenizer))
    marked = [token for token, mark in zip(tokens, marks, strict=True) if mark]
    while marked and not str(tokenizer.decode([marked[-1]])).strip():
        marked.pop()
    found = set(marked[-1:])
    return frozenset(found | ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()))


def reply_frame(tokenizer: PreTrainedTokenizerBase, template: str) -> tuple[str, str]:
    """What a template marks in front of and behind the text of a reply: nothing, and the end token, as a rule.

    Raises:
        ValueError: it does not mark the text of a reply.
    """
    tokens, marks = encode_with_marks(tokenizer, [_USER, _REPLY], template)
    text = str(tokenizer.decode([token for token, mark in zip(tokens, marks, strict=True) if mark]))
    before, found, after = text.partition(_REPLY["content"])
    if not found or not after.strip():
        raise ValueError(f"the chat template marks {text!r} of a reply: its text with its end token is wanted.")
    return before, after


def encode_with_marks(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], template: str
) -> tuple[list[int], list[int]]:
    """Token ids of a chat, and for each whether it belongs to a reply (1) or not (0)."""
    plain: Any = [{"role": message["role"], "content": message["content"]} for message in messages]
    encoded: Any = tokenizer.apply_chat_template(
        plain, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return list(encoded["input_ids"]), list(encoded["assistant_masks"])


def without_trailing_newline(template: str) -> str:
    """A template under which a chat that ends with a reply ends with the reply's end token.

    A reward model reads its score off the last token. With ChatML's line break behind the reply that would be the
    break, in training; when replies are drawn they end with their end token.

    Raises:
        ValueError: the template has no `{% generation %}` marks.
    """
    end = "{% endgeneration %}"
    if end not in template:
        raise ValueError("the template does not say where replies end: pass one of `training_template`.")
    head, rest = template.rsplit(end, 1)
    line_break = "{{ '\\n' }}"
    if not rest.startswith(line_break):
        return template
    return head + end + "{% if not loop.last %}" + line_break + "{% endif %}" + rest[len(line_break) :]
