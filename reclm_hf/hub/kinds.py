"""The eight kinds of artefact, how a folder's kind is told, and which files of it may travel."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..profiler.configuration_reclm_profiler import PROFILER_CONFIG
from ..profiler.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS

ALWAYS = ("README.md", "manifest.json", ".gitattributes")
"""Of every repository, and never listed in its manifest's `files`."""

SPACE_SETTINGS = "settings.json"
"""Of a Space that `reclm space` wrote: what it loads, and at which commits."""

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
)
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
_LANGUAGE_MODEL = (*_TOKENIZER, "generation_config.json", "training_log.parquet", "LICENSE.txt", "NOTICE.txt")
_WHOLE = "model*.safetensors"
_SHARD = re.compile(r"model-\d+-of-(?P<total>\d+)\.safetensors")
_CODE = ("*.py",)


@dataclass(frozen=True)
class Kind:
    """One kind of artefact.

    Attributes:
        repo_type: model, dataset or space.
        required: patterns that must each match a file; "a|b" is met by either.
        allowed: patterns of everything that may travel beside; matched part by part, `*` does not cross a slash.
        template: of its card, in `hub_cards/`.
        private: whether a new repository is private unless asked otherwise, because it holds ids or profiles of users.
    """

    name: str
    repo_type: str
    required: tuple[str, ...]
    allowed: tuple[str, ...]
    template: str
    private: bool

    def missing(self, names: Iterable[str]) -> list[str]:
        """The required patterns that no name matches."""
        found = list(names)
        return [
            pattern
            for pattern in self.required
            if not any(matches(name, choice) for name in found for choice in pattern.split("|"))
        ]

    def allows(self, name: str, code: bool = False) -> bool:
        """Whether a file may travel; `code` lets `*.py` of a recommender through."""
        extra = _CODE if code and self.name == "recommender" else ()
        patterns = (*ALWAYS, *(choice for entry in self.required for choice in entry.split("|")), *self.allowed, *extra)
        return any(matches(name, pattern) for pattern in patterns)


def matches(name: str, pattern: str) -> bool:
    """Whether a path fits a pattern, part by part."""
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


_ALL = (
    Kind(
        "recommender",
        "model",
        ("config.json", _WHOLE, "catalog.parquet", "users.parquet", "catalog.safetensors"),
        _WEIGHTS,
        "recommender.md.j2",
        True,
    ),
    Kind(
        "profiler-adapter",
        "model",
        (ADAPTER_CONFIG, ADAPTER_WEIGHTS),
        (PROFILER_CONFIG, *_LANGUAGE_MODEL),
        "profiler.md.j2",
        False,
    ),
    Kind(
        "profiler",
        "model",
        ("config.json", _WHOLE),
        (PROFILER_CONFIG, *_WEIGHTS, *_LANGUAGE_MODEL),
        "profiler.md.j2",
        False,
    ),
    Kind(
        "reward-model",
        "model",
        ("reward_config.json", f"{ADAPTER_CONFIG}|config.json", f"{ADAPTER_WEIGHTS}|{_WHOLE}"),
        (*_WEIGHTS, *_LANGUAGE_MODEL),
        "reward_model.md.j2",
        False,
    ),
    Kind(
        "tables",
        "dataset",
        ("dataset.json",),
        ("*.parquet", "*/*.parquet", "*/*/*.parquet", "*.json", "LICENSE.txt", "NOTICE.txt"),
        "tables.md.j2",
        True,
    ),
    Kind(
        "results",
        "dataset",
        ("results.parquet",),
        ("*.parquet", "*/*.parquet", "report.md", "report.svg", "report.html", "published.md", "*.json"),
        "results.md.j2",
        False,
    ),
    Kind(
        "space",
        "space",
        ("app.py", "requirements.txt"),
        ("*.py", "*/*.py", "packages.txt", SPACE_SETTINGS),
        "space.md.j2",
        False,
    ),
    Kind("metric", "space", ("*.py", "requirements.txt"), ("*.py", "LICENSE.txt"), "space.md.j2", False),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}


def kind_named(name: str) -> Kind:
    """The kind of that name. Raises ValueError that lists all."""
    if name not in KINDS:
        raise ValueError(f"There is no kind {name!r}: choose one of {', '.join(KINDS)}.")
    return KINDS[name]


def kind_of(folder: Path) -> Kind:
    """Tell the kind of a folder by its files.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it fits no kind, or lacks a file of the kind that it fits; names what is missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder: give what `reclm train`, `reclm sft` or another command wrote."
        )
    kind = KINDS[_told(folder)]
    require_files(folder, kind)
    return kind


def require_files(folder: Path, kind: Kind) -> None:
    """Raise ValueError, naming what is missing, unless a folder holds the files that tell its kind."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    missing = [*kind.missing(names), *_missing_shards(names)]
    if kind.name == "tables":  # a folder of tables becomes a repository of configurations
        choices = (("items.parquet",), ("interactions.parquet", "interactions/train.parquet"))
        missing += ["|".join(names) for names in choices if not any((folder / name).is_file() for name in names)]
    if not missing:
        return
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt"))]
    if pickles and any(".safetensors" in pattern for pattern in missing):
        raise ValueError(
            f"{folder} has its weights as {', '.join(sorted(pickles))}: pickles can run code and never travel; save "
            "them as safetensors."
        )
    raise ValueError(f"{folder} is no whole {kind.name}: {', '.join(missing).replace('|', ' or ')} is missing.")


def _missing_shards(names: list[str]) -> list[str]:
    """What weights in several files lack: others of them, or their index."""
    found = [part for part in map(_SHARD.fullmatch, names) if part]
    if not found or "model.safetensors" in names:
        return []
    total = found[0]["total"]
    wanted = [f"model-{number:0{len(total)}}-of-{total}.safetensors" for number in range(1, min(int(total), 9999) + 1)]
    lacking = [name for name in wanted if name not in names]
    return [*lacking[:3], *({"model.safetensors.index.json"} - set(names))]


def _told(folder: Path) -> str:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    config = _json(folder / "config.json")
    if "reward_config.json" in names:
        return "reward-model"
    if ADAPTER_CONFIG in names:
        return _adapter(folder)
    if config.get("model_type") == "reclm_recommender":
        return "recommender"
    if any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in config.get("architectures") or ()):
        return "profiler"
    if "results.parquet" in names:
        return "results"
    if {"items.parquet", "interactions.parquet"} & names:
        return "tables"
    if any(_defines_metric(path) for path in sorted(folder.glob("*.py"))):
        return "metric"
    if "app.py" in names:
        return "space"
    raise ValueError(
        f"{folder} fits no kind of artefact: looked for config.json of a recommender or a causal language model, "
        f"{ADAPTER_CONFIG}, reward_config.json, results.parquet, items.parquet with interactions.parquet and "
        f"dataset.json, app.py, and a module with an evaluate.Metric. Give the folder that holds one, or --kind."
    )


def _adapter(folder: Path) -> str:
    task = _json(folder / ADAPTER_CONFIG).get("task_type")
    if task != "CAUSAL_LM":
        raise ValueError(
            f"{folder / ADAPTER_CONFIG}: task_type={task!r}; a profiler's is CAUSAL_LM, and a reward model has "
            "reward_config.json beside."
        )
    return "profiler-adapter"


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}): save or fetch it again.") from error
    return found if isinstance(found, dict) else {}


def _defines_metric(path: Path) -> bool:
    """Whether a module defines a class on `evaluate.Metric`; read, never run."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return False
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return any(ast.unparse(base) in ("evaluate.Metric", "Metric") for node in classes for base in node.bases)
