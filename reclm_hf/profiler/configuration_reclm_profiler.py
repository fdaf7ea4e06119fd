"""Configuration of `RecLMProfiler`, in a file of its own beside those of PEFT or of the base architecture."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..profiles.dialogues import DIALOGUE_VERSION
from ..profiles.evidence import HISTORY_ITEMS, NEIGHBOR_ITEMS
from ..profiles.forms import CHAT_TOKENS, EXAMPLES_FORM, FORMS
from ..profiles.item_prompts import ITEM_PROMPT_VERSION
from ..profiles.neighbors import NEIGHBORS
from ..profiles.profile import ITEM_ITEMS, USER_ITEMS
from ..profiles.prompts import PROMPT_VERSION, PromptStyle

logger = logging.getLogger(__name__)

PROFILER_CONFIG = "profiler_config.json"
LAYOUTS = ("adapter", "merged")
DTYPES = ("auto", "float32", "bfloat16", "float16")
FORMAT = 1
"""Counts up when a reader of the older form would misunderstand the file."""

_RECORDED = ("transformers", "peft", "torch")
_REVISION = re.compile(r"[\w.\-/]+")
_COUNTS = {"user_size": 1, "item_size": 1, "history_items": 1, "neighbors": 0, "neighbor_items": 0, "max_tokens": 1}


def current_prompts() -> dict[str, str]:
    """The versions of the prompts as this package renders them, by kind."""
    return {"user": PROMPT_VERSION, "item": ITEM_PROMPT_VERSION, "dialogue": DIALOGUE_VERSION}


def installed_versions() -> dict[str, str]:
    """The versions of the packages that a profiler is made with; absent ones are left out."""
    found = {"reclm-hf": __version__}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class RecLMProfilerConfig:
    """What a profiler is made of and what it was tuned to read and write.

    Sampling stands in `generation_config.json` and the chat template in `chat_template.jinja`, where every loader looks
    for them.

    Attributes:
        base_model: Hub id (or folder) of the model that was tuned, or that is used as it is.
        base_revision: its commit or branch on the Hub; None where it did not come from there (a bundle, a folder).
        base_label: model and origin of the weights at hand when this was written, bundles named as such.
        base_vocab_size: rows of the base model's embedding table; another base is refused by it.
        layout: "adapter" (PEFT's files, to be put on the base model) or "merged" (a whole model).
        prompts: kind ("user", "item", "dialogue") -> version of the prompt that it was tuned with.
        user_size, item_size: identities, and interests, of a user's and of an item's profile.
        style: how items are shown and in which language profiles are written.
        history_items: of a user's history, the latest so many are shown. neighbors: similar users that are read.
        neighbor_items: items shown of each.
        dtype: the precision that it is loaded in; "auto" takes what is fast on the machine.
        versions: of the packages that it was written with.
        form: that users' profiles are asked for in, the one that it was tuned with; see `reclm_hf.profiles.forms`.
            Files that do not name one are of models that are asked with worked examples.
        max_tokens: of a chat in the forms own and dialogue, the reply included; of the chats that it was tuned on.
        extra: keys of the file that this version does not know; kept and written back.

    Raises:
        ValueError: a field without meaning; the message begins with its name.
    """

    base_model: str
    base_revision: str | None = None
    base_label: str = ""
    base_vocab_size: int | None = None
    layout: str = "merged"
    prompts: Mapping[str, str] = field(default_factory=current_prompts)
    user_size: int = USER_ITEMS
    item_size: int = ITEM_ITEMS
    style: PromptStyle = field(default_factory=PromptStyle)
    history_items: int = HISTORY_ITEMS
    neighbors: int = NEIGHBORS
    neighbor_items: int = NEIGHBOR_ITEMS
    dtype: str = "auto"
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    form: str = EXAMPLES_FORM
    max_tokens: int = CHAT_TOKENS
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.base_model, str) or not self.base_model.strip():
            raise ValueError(f"base_model={self.base_model!r}: name a model by Hub id or folder.")
        revision = self.base_revision
        if revision is not None and not (isinstance(revision, str) and _REVISION.fullmatch(revision)):
            raise ValueError(f"base_revision={revision!r}: give a commit or branch of the Hub, or null for none.")
        choices = (("layout", self.layout, LAYOUTS), ("dtype", self.dtype, DTYPES), ("form", self.form, FORMS))
        for name, value, known in choices:
            if value not in known:
                raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(known)}.")
        for name, least in _COUNTS.items():
            _require_count(name, getattr(self, name), least)
        if self.base_vocab_size is not None:
            _require_count("base_vocab_size", self.base_vocab_size, 1)
        for name in ("prompts", "versions", "extra"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name}={getattr(self, name)!r}: give names and values.")

    def to_dict(self) -> dict[str, Any]:
        """What the file holds, unknown keys of an earlier file included."""
        known = {name: value for name, value in asdict(self).items() if name != "extra"}
        return {**self.extra, "format": FORMAT, **known}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecLMProfilerConfig:
        """Read what `to_dict` wrote, now or in another version.

        Keys that an older file lacks take their defaults, but nothing is claimed of prompts and versions that it does
        not name. Unknown keys are kept in `extra`.

        Raises:
            ValueError: a field without meaning, or a file in a form that is newer than this package.
        """
        values = dict(values)
        form = values.pop("format", FORMAT)
        if form not in range(1, FORMAT + 1):
            raise ValueError(f"format={form!r} is newer than this package, which reads {FORMAT}; update reclm-hf.")
        known = {entry.name for entry in fields(cls)} - {"extra"}
        extra = {name: value for name, value in values.items() if name not in known}
        if extra:
            logger.warning("%s: unknown keys are kept but not used: %s", PROFILER_CONFIG, ", ".join(sorted(extra)))
        if "base_model" not in values:
            raise ValueError("base_model is missing: name a model by Hub id or folder.")
        given = {"prompts": {}, "versions": {}} | {name: values[name] for name in known & set(values)}
        if "style" in given:
            given["style"] = _style(given["style"])
        return cls(**given, extra=extra)

    def save(self, folder: str | Path) -> None:
        """Write `profiler_config.json` into a folder."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (Path(folder) / PROFILER_CONFIG).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> RecLMProfilerConfig:
        """Read `profiler_config.json` of a folder.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is broken or means nothing; the message names file and field.
        """
        path = Path(folder) / PROFILER_CONFIG
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not JSON ({error}): save or fetch it again.") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path} holds {type(values).__name__}, not names and values: save or fetch it again.")
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _require_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number, {least} or more.")


def _style(values: Any) -> PromptStyle:
    if not isinstance(values, Mapping):
        raise ValueError(f"style={values!r}: give columns and language.")
    known = {entry.name for entry in fields(PromptStyle)}
    unknown = sorted(set(values) - known)
    if unknown:
        logger.warning("%s: unknown keys of style are not used: %s", PROFILER_CONFIG, ", ".join(unknown))
    given = {name: values[name] for name in known & set(values)}
    if not isinstance(given.get("columns", []), list | tuple):
        raise ValueError(f"style: columns={given['columns']!r}: give a list of column names.")
    if "columns" in given:
        given["columns"] = tuple(given["columns"])
    try:
        return PromptStyle(**given)
    except ValueError as error:
        raise ValueError(f"style: {error}") from error
