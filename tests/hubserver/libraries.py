"""The client libraries of this process, pointed at a Hub for a while.

They read the environment once, when they are imported, and keep what they read in module variables, of which other
modules have copies. So the variables are what must change: all of them, and back again.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.hubserver.late import when_loaded

LIBRARIES = ("huggingface_hub", "transformers", "datasets", "evaluate", "peft", "trl", "accelerate")

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
_LATE = "evaluate.config"  # takes seconds to import, and is seldom needed; reads nothing but the environment
_DYNAMIC = ("transformers_modules", "datasets_modules", "evaluate_modules")


@contextmanager
def pointed_at(endpoint: str, home: Path, token: str) -> Iterator[None]:
    """Let every client library of this process work with the Hub at `endpoint`, with its caches under `home`, as the
    user of `token`."""
    values = _values(endpoint, home)
    changed: list[tuple[str, Any, Any]] = []
    patch = pytest.MonkeyPatch()

    def change(source: ModuleType) -> None:
        found = library_modules()
        for name, value in values[source.__name__].items():
            changed.append((name, old := getattr(source, name), value))
            _replace(patch.setattr, found, name, old, value)

    for source in values:
        if source != _LATE:
            importlib.import_module(source)
    try:
        with when_loaded(_LATE, change):
            for source in values:
                if source in sys.modules:
                    change(sys.modules[source])
            _point_singletons(patch, endpoint)
            _set_environment(patch, token)
            patch.setattr(sys, "path", [*sys.path])  # where the code that comes with models and metrics is found
            _forget()
            yield
    finally:
        _forget()
        patch.undo()
        found = library_modules()
        for name, old, value in changed:  # a module that was imported meanwhile has copied what it found
            _replace(setattr, found, name, value, old)


def library_modules() -> dict[str, ModuleType]:
    """The modules of the libraries that are imported by now."""
    loaded = [(name, module) for name, module in [*sys.modules.items()] if name.split(".")[0] in LIBRARIES]
    return {name: module for name, module in loaded if isinstance(module, ModuleType)}


def child_variables(endpoint: str, home: Path, token: str) -> dict[str, str]:
    """The same for a process that is yet to import them: what its environment must hold."""
    off = dict.fromkeys(_OFFLINE, "0")  # not left out: the caller may join this with an environment that is offline
    return {
        **off,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",  # where both are set, this one counts
    }


def _values(endpoint: str, home: Path) -> dict[str, dict[str, Any]]:
    """module -> variable -> value."""
    modules = home / "modules"
    datasets, evaluate = home / "datasets", home / "evaluate"
    constants = {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_URL_HOSTS": frozenset({"hf.co", "huggingface.co", str(urlsplit(endpoint).hostname)}),
        "HF_HUB_OFFLINE": False,
        "HF_HOME": str(home),
        **dict.fromkeys(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "default_cache_path"), str(home / "hub")),
        **dict.fromkeys(("HF_ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE"), str(home / "assets")),
        "default_assets_cache_path": str(home / "assets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "CHECK_FOR_UPDATE_DONE_PATH": str(home / ".check_for_update_done"),
        "AGENT_HARNESSES_PATH": str(home / ".agent_harnesses.json"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_UPDATE_CHECK": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }
    both = {"HF_ENDPOINT": endpoint, "HF_CACHE_HOME": str(home), "HF_MODULES_CACHE": modules}
    quiet = {"HF_UPDATE_DOWNLOAD_COUNTS": False}  # counts are kept at S3: no part of the Hub
    return {
        "huggingface_hub.constants": constants,
        "transformers.utils.hub": {"HF_MODULES_CACHE": str(modules)},
        "datasets.config": {
            **both,
            **quiet,
            "HUB_DATASETS_URL": endpoint + "/datasets/{repo_id}/resolve/{revision}/{path}",
            "HF_DATASETS_CACHE": datasets,
            "DOWNLOADED_DATASETS_PATH": datasets / "downloads",
            "EXTRACTED_DATASETS_PATH": datasets / "downloads" / "extracted",
            "HF_HUB_OFFLINE": False,
            "HF_DATASETS_OFFLINE": False,
            "USE_PARQUET_EXPORT": False,  # would ask a second server, whose name is made from the first one's
        },
        "evaluate.config": {
            **both,
            **quiet,
            "HF_LIST_ENDPOINT": endpoint + "/api/spaces?filter={type}",
            "HUB_EVALUATE_URL": endpoint + "/spaces/{path}/resolve/{revision}/{name}",
            "HF_EVALUATE_CACHE": evaluate,
            "HF_METRICS_CACHE": home / "metrics",
            "DOWNLOADED_EVALUATE_PATH": evaluate / "downloads",
            "EXTRACTED_EVALUATE_PATH": evaluate / "downloads" / "extracted",
            "HF_EVALUATE_OFFLINE": False,
        },
    }


def _replace(
    put: Callable[[ModuleType, str, Any], None], modules: dict[str, ModuleType], name: str, old: Any, value: Any
) -> None:
    """Change a variable wherever it is `old`: in its module and where it has been copied under its name."""
    for module in modules.values():
        if name in vars(module) and vars(module)[name] is old:
            put(module, name, value)


def _set_environment(patch: pytest.MonkeyPatch, token: str) -> None:
    """What is read from the environment at each use."""
    patch.setenv("HF_TOKEN", token)
    patch.setenv("NO_PROXY", "127.0.0.1,localhost")
    patch.setenv("no_proxy", "127.0.0.1,localhost")
    patch.setenv("DISABLE_SAFETENSORS_CONVERSION", "1")
    for name in (*_OFFLINE, "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)


def _forget() -> None:
    """Drop what the libraries keep of the Hub last talked to: connections, listings, imported code."""
    from huggingface_hub import HfFileSystem
    from huggingface_hub.utils import close_session

    close_session()
    HfFileSystem.clear_instance_cache()
    for name in [name for name in sys.modules if name.split(".")[0] in _DYNAMIC]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _apis() -> list[Any]:
    """The objects that functions of the libraries are methods of, each once."""
    scopes = [vars(module) for module in library_modules().values()]
    # A module that two threads imported at once may stand in `sys.modules` as another than the one its classes are of.
    classes = [value for scope in scopes for value in [*scope.values()] if isinstance(value, type)]
    methods = {id(found): found for found in (vars(owner).get("push_to_hub") for owner in classes) if found is not None}
    scopes += [found.__globals__ for found in map(inspect.unwrap, methods.values()) if hasattr(found, "__globals__")]
    values = [value for scope in scopes for value in [*scope.values()]]
    owners = {id(owner): owner for owner in (getattr(value, "__self__", None) for value in values)}
    return [owner for owner in owners.values() if type(owner).__name__ == "HfApi"]


def _instead_of_the_real_one(endpoint: str) -> property:
    """The attribute `endpoint` of `HfApi`: what an object was given, but the real Hub's address."""

    def read(api: Any) -> str:
        given = vars(api).get("endpoint", endpoint)
        return endpoint if "huggingface.co" in str(given) else str(given)

    def write(api: Any, value: str) -> None:
        vars(api)["endpoint"] = value

    return property(read, write)


def _point_singletons(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    """The objects that functions such as `huggingface_hub.create_repo` are methods of; they keep an endpoint."""
    from huggingface_hub import file_download, hf_api, hf_file_system
    from huggingface_hub.utils import _http

    patch.setattr(hf_api.api, "endpoint", endpoint)
    for bound in _apis():  # functions that a library took from another one than that
        patch.setattr(bound, "endpoint", endpoint)
    for kind in {hf_api.HfApi, *map(type, _apis())}:  # and whatever else was made for the real Hub, or will be
        patch.setattr(kind, "endpoint", _instead_of_the_real_one(endpoint), raising=False)
    patch.setattr(hf_file_system.hffs, "endpoint", endpoint)
    patch.setattr(hf_file_system.hffs._api, "endpoint", endpoint)
    patch.setattr(_http, "_HUB_ORIGINS", frozenset({_http._url_origin(endpoint)}))
    patch.setattr(file_download, "_are_symlinks_supported_in_dir", {})  # known by folder, and grows
