"""Where a recommender's files lie: in a folder, or at one commit of a Hub repository. Only safetensors are weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import is_offline_mode, list_repo_files, try_to_load_from_cache
from huggingface_hub.utils import httpx
from transformers.utils import cached_file

from .integrity import CONFIG_FILE, read_object

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_ADAPTER_FILE = "adapter_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".h5", ".msgpack")
_HUB_OPTIONS = ("revision", "subfolder", "token", "cache_dir", "local_files_only", "force_download", "proxies")


@dataclass(frozen=True)
class Source:
    """A folder or a repository, and how it is asked (`from_pretrained`'s own options)."""

    name: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, name: str | Path, options: Mapping[str, Any]) -> Source:
        """Of the arguments of `from_pretrained`, whose `revision` is resolved already."""
        return cls(str(name), {key: options[key] for key in _HUB_OPTIONS if options.get(key) is not None})

    @property
    def local(self) -> Path | None:
        """The folder, or None for a repository."""
        place = Path(self.name)
        return place / self.options.get("subfolder", "") if place.is_dir() else None

    def __str__(self) -> str:
        inside = self.options.get("subfolder", "")
        return str(self.local or "/".join(filter(None, (self.name, inside))))

    def find(self, file: str) -> Path | None:
        """Where a file lies, fetched if need be; None where the folder or the commit has none of that name.

        Raises:
            OSError: no such repository, no permission, or the Hub could not be reached.
        """
        if self.local is not None:
            return self.local / file if (self.local / file).is_file() else None
        with self.asking_for(file):
            found = cached_file(self.name, file, _raise_exceptions_for_missing_entries=False, **self.options)
        if found is None and not self._known_to_be_absent(file):
            raise OSError(
                f"{self}: {file} could not be fetched, the Hub did not answer or broke off; try again, or load what "
                "the cache has with local_files_only=True"
            )
        return None if found is None else Path(found)

    @contextmanager
    def asking_for(self, file: str) -> Iterator[None]:
        """Turn the client's errors into an OSError that names repository, file, reason and the way out."""
        try:
            yield
        except (OSError, httpx.HTTPError) as error:
            reason = " ".join(str(error).strip().splitlines()[:2]) or type(error).__name__
            raise OSError(
                f"{self}: {file} could not be fetched ({reason}). Check the name, the revision and the network; for a "
                "private repository set HF_TOKEN or run `hf auth login`."
            ) from error

    def _known_to_be_absent(self, file: str) -> bool:
        # A connection that broke and a file that is not there look alike, but of the latter the cache keeps a note.
        if is_offline_mode() or self.options.get("local_files_only"):
            return True
        path = "/".join(filter(None, (self.options.get("subfolder", ""), file)))
        revision = self.options.get("revision")
        commit = getattr(revision, "resolved", revision)
        noted = try_to_load_from_cache(self.name, path, cache_dir=self.options.get("cache_dir"), revision=commit)
        return noted is not None and not isinstance(noted, str)

    def names(self) -> list[str]:
        """Names of the files there, for a message; empty where nobody can tell."""
        if self.local is not None:
            return sorted(path.name for path in self.local.iterdir()) if self.local.is_dir() else []
        try:
            asked = {key: self.options[key] for key in ("revision", "token") if key in self.options}
            names = list_repo_files(self.name, **asked)
        except (OSError, ValueError, httpx.HTTPError):
            return []
        inside = f"{self.options['subfolder']}/" if self.options.get("subfolder") else ""
        return sorted(name.removeprefix(inside) for name in names if name.startswith(inside))


def config_file(source: Source) -> Path:
    """`config.json`. Raises FileNotFoundError that says what else there is."""
    found = source.find(CONFIG_FILE)
    if found is not None:
        return found
    names = source.names()
    advice = ""
    if _ADAPTER_FILE in names:
        advice = "; it holds an adapter, which RecLMProfiler.from_pretrained loads"
    elif not names and source.local is None:
        advice = ", or it is not in the cache: go online once"
    raise FileNotFoundError(f"{source} holds no whole saved recommender: {CONFIG_FILE} is missing{advice}")


def take_adapter_options(name: str | Path, options: dict[str, Any]) -> None:
    """Take `adapter_kwargs` out of the options of `from_pretrained`; the Auto classes put there what they found.

    Raises:
        ValueError: they found an adapter; `name` may be another repository by now, the one that the adapter names.
    """
    found = (options.pop("adapter_kwargs", None) or {}).get("_adapter_model_path")
    if found is not None:
        raise _is_adapter(found if str(found) == str(name) else f"{found} (with {name} as its base)")


def refuse_adapter(source: Source) -> None:
    """Raise ValueError where an adapter stands beside a recommender.

    transformers would take the weights of whatever base model it names, or lay its own over those that were checked,
    pickles too.
    """
    if source.find(_ADAPTER_FILE) is not None:
        raise _is_adapter(source)


def _is_adapter(source: object) -> ValueError:
    return ValueError(
        f"{source} holds an adapter ({_ADAPTER_FILE}): a recommender has none, and nothing of it is loaded. Remove "
        "that file where it is a recommender; RecLMProfiler.from_pretrained loads adapters of profilers"
    )


def weight_files(source: Source, variant: str | None = None) -> dict[str, Path]:
    """Name -> place of the files with the weights, the index of sharded ones among them.

    Args:
        variant: as of transformers, a part of the names.

    Raises:
        FileNotFoundError: there are none, or only pickles, or a shard is missing. ValueError: a broken index.
    """
    tail = f".{variant}" if variant else ""
    single, index = f"model{tail}.safetensors", f"model.safetensors.index{tail}.json"
    whole = source.find(single)
    if whole is not None:
        return {single: whole}
    found = source.find(index)
    if found is None:
        raise _no_weights(source, single)
    files = {index: found}
    for name in _shards(found):
        place = source.find(name)
        if place is None:
            raise FileNotFoundError(f"{source} lacks {name}, which {index} names: save or fetch it again")
        files[name] = place
    return files


def _shards(index: Path) -> list[str]:
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{index} has no weight_map: save or fetch it again")
    for name in named.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise ValueError(f"{index} names {name!r}: shards are safetensors files that lie beside it")
    return sorted(set(named.values()))


def _no_weights(source: Source, name: str) -> FileNotFoundError:
    pickles = [entry for entry in source.names() if entry.endswith(_PICKLES)]
    if pickles:
        return FileNotFoundError(
            f"{source} has its weights as {', '.join(pickles)}: pickles can run code and are not read. Save the model "
            f"as safetensors ({name}) with `save_pretrained`, in a place that you trust."
        )
    return FileNotFoundError(f"{source} holds no whole saved recommender: {name} is missing")
