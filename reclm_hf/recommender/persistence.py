"""Saving and loading: config, weights and catalogue travel together, of one revision."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file
from transformers.utils.hub import resolve_revision

from .catalog import CATALOG_FILE, TENSORS_FILE, USERS_FILE, Catalog

CATALOG_FILES = (CATALOG_FILE, USERS_FILE, TENSORS_FILE)
_HUB_OPTIONS = ("revision", "subfolder", "token", "cache_dir", "local_files_only", "force_download", "proxies")


class PersistenceMixin(PreTrainedModel):
    """`save_pretrained` and `from_pretrained` with the catalogue; expects `self.catalog`."""

    catalog: Any

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write config, weights and catalogue; with `push_to_hub=True` all of them travel.

        Raises:
            ValueError: there is no catalogue.
            OSError: a file could not be written (disk full, no permission).
        """
        if self.catalog is None:
            raise ValueError(
                "This model has no catalogue, so nobody could recommend with it: set `model.catalog` first."
            )
        try:
            self.catalog.save(save_directory)
            super().save_pretrained(save_directory, *args, **kwargs)
        except SafetensorError as error:
            raise OSError(f"{save_directory}: could not be written ({error}). Free some space, save again.") from error

    def _get_files_timestamps(self, working_dir: str | PathLike[str]) -> dict[str, float]:
        # transformers uploads what changed since this call, and the catalogue was written just before it.
        found = super()._get_files_timestamps(working_dir)
        return {name: stamp for name, stamp in found.items() if name not in CATALOG_FILES}

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        """Load weights and catalogue from a folder or a Hub repository, with one revision, token and cache.

        `revision`, `subfolder`, `token`, `cache_dir`, ... go for both; weights are read from safetensors only.

        Raises:
            OSError: the folder or the repository, or a file in it, is missing.
        """
        shared = {key: kwargs[key] for key in ("token", "local_files_only", "cache_dir") if key in kwargs}
        # Resolved once: weights and catalogue are of one commit even where the branch moves on in between.
        kwargs["revision"] = resolve_revision(pretrained_model_name_or_path, kwargs.get("revision"), **shared)
        kwargs["use_safetensors"] = True
        # First, since what is no recommender has no catalogue, and transformers would report every weight it lacks.
        catalog = _load_catalog(pretrained_model_name_or_path, kwargs)
        model = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        loaded: Any = model[0] if isinstance(model, tuple) else model
        loaded.catalog = catalog
        return model


def _load_catalog(source: str | Path, options: dict[str, Any]) -> Catalog:
    folder = Path(source) / (options.get("subfolder") or "")
    if not Path(source).is_dir():
        shared = {key: options[key] for key in _HUB_OPTIONS if key in options}
        paths = [cached_file(str(source), name, **shared) for name in CATALOG_FILES]
        folder = Path(str(paths[0])).parent
    elif not (folder / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{folder / CONFIG_NAME} is missing: the folder does not hold a whole saved recommender"
        )
    return Catalog.load(folder)
