"""Saving and loading: config, weights, catalogue and manifest travel together, of one revision."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file
from transformers.utils.hub import resolve_revision

from .catalog import CATALOG_FILE, TENSORS_FILE, USERS_FILE, Catalog
from .checks import check_graph, check_model_type, check_sizes, check_weights, warn_of_unknown
from .integrity import CONFIG_FILE, MANIFEST, begin, check_files, read_object, write_manifest
from .source import (
    INDEX_FILE,
    WEIGHTS_FILE,
    Source,
    config_file,
    refuse_adapter,
    take_adapter_options,
    weight_files,
)

CATALOG_FILES = (CATALOG_FILE, USERS_FILE, TENSORS_FILE)
_WRITTEN = (CONFIG_FILE, *CATALOG_FILES, INDEX_FILE, "model*.safetensors")


class PersistenceMixin(PreTrainedModel):
    """`save_pretrained` and `from_pretrained` with the catalogue; expects `self.catalog`."""

    catalog: Any

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write config, weights, catalogue and `manifest.json`; with `push_to_hub=True` all of them travel.

        A manifest of a run, or of the same weights, keeps what else it says.

        Raises:
            ValueError: there is no catalogue, or the manifest that stands there is broken.
            OSError: a file could not be written (disk full, no permission).
        """
        if self.catalog is None:
            raise ValueError(
                "This model has no catalogue, so nobody could recommend with it: set `model.catalog` first."
            )
        if kwargs.get("push_to_hub") and kwargs.get("private") is None:
            kwargs["private"] = True  # as `push_to_hub`
        folder = Path(save_directory)
        before = begin(folder)
        # An index that an earlier save left would say that the weights of this one are sharded.
        (folder / INDEX_FILE).unlink(missing_ok=True)
        try:
            self.catalog.save(folder)
            super().save_pretrained(save_directory, *args, **kwargs)
        except SafetensorError as error:
            raise OSError(f"{save_directory}: could not be written ({error}). Free some space, save again.") from error
        self._state_files(folder, before)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *args: Any, private: bool | None = None, **kwargs: Any
    ) -> Any:
        """As transformers', but a new repository is private unless `private=False`: it holds what users chose.

        `reclm push` writes a card and a whole manifest besides, and refuses a repository that is public already.
        """
        push: Any = super().push_to_hub
        return push(repo_id, *args, private=True if private is None else private, **kwargs)

    def _state_files(self, folder: Path, before: dict[str, Any] | None = None) -> None:
        if (folder / INDEX_FILE).is_file():
            (folder / WEIGHTS_FILE).unlink(missing_ok=True)  # of an earlier save: readers would prefer it
        code = ("*.py",) if self.is_remote_code() else ()
        write_manifest(folder, {path.name for pattern in (*_WRITTEN, *code) for path in folder.glob(pattern)}, before)

    def _get_files_timestamps(self, working_dir: str | PathLike[str]) -> dict[str, float]:
        # transformers uploads what changed since this call, and the catalogue was written just before it.
        found = super()._get_files_timestamps(working_dir)
        return {name: stamp for name, stamp in found.items() if name not in (*CATALOG_FILES, MANIFEST)}

    def _upload_modified_files(self, working_dir: str | PathLike[str], *args: Any, **kwargs: Any) -> Any:
        self._state_files(Path(working_dir))
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        """Load config, weights and catalogue from a folder or a Hub repository, with one revision, token and cache.

        `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`, ... go for all of them; `config.json` is
        asked for first, and once. Weights are read from safetensors only, and no adapter is put on them. Where
        `manifest.json` states the files' hashes, they are compared before anything is put together.

        Raises:
            OSError: the folder or the repository, or a file in it, is missing; weights only as a pickle.
            ValueError: a file is broken or differs from the manifest, the files do not belong together, or an adapter
                is among them.
        """
        take_adapter_options(pretrained_model_name_or_path, kwargs)
        shared = {key: kwargs[key] for key in ("token", "local_files_only", "cache_dir") if key in kwargs}
        # Resolved once: all files are of one commit even where the branch moves on in between.
        kwargs["revision"] = resolve_revision(pretrained_model_name_or_path, kwargs.get("revision"), **shared)
        kwargs["use_safetensors"] = True
        source = Source.of(pretrained_model_name_or_path, kwargs)
        stated = config_file(source)
        refuse_adapter(source)
        config = cls._stated_config(stated, kwargs)
        manifest = source.find(MANIFEST)
        files = {CONFIG_FILE: stated, **_catalog_files(source)}
        weights = weight_files(source, kwargs.get("variant"))
        check_files(manifest, {**files, **weights})
        catalog = Catalog.load(files[CATALOG_FILE].parent)
        check_sizes(catalog, config, source)
        if not kwargs.get("ignore_mismatched_sizes"):
            check_weights(cls._expected(config, stated), weights.values())
        model = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        loaded: Any = model[0] if isinstance(model, tuple) else model
        check_graph(loaded, source)
        loaded.catalog = catalog
        return model

    @classmethod
    def _stated_config(cls, path: Path, options: dict[str, Any]) -> Any:
        """The configuration that the model will have: of the file, of the caller, or of the file with changes."""
        values, kind = read_object(path), cls.config_class
        assert kind is not None
        check_model_type(values, kind.model_type, path)
        try:
            warn_of_unknown(values, kind().to_dict(), path)
            given = options.get("config")
            if isinstance(given, str | Path):
                options["config"] = given = kind.from_pretrained(given)
            if isinstance(given, PreTrainedConfig):
                return given
            return kind.from_dict(values, **{name: options[name] for name in options if name in values})
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def _expected(cls, config: Any, path: Path) -> dict[str, torch.Tensor]:
        """Names and tensors of a model, with shapes and no content: whatever a file claims costs no memory here."""
        try:
            with torch.device("meta"):
                return cls(config).state_dict()
        except (RuntimeError, OverflowError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path}: no model can be built of these sizes ({reason}): fetch it again") from error


def _catalog_files(source: Source) -> dict[str, Path]:
    if source.local is not None:
        return {name: source.local / name for name in CATALOG_FILES}
    found = {}
    for name in CATALOG_FILES:
        with source.asking_for(name):
            found[name] = Path(str(cached_file(source.name, name, **source.options)))
    return found
