"""What may travel: names that stay inside their folder, no pickles, no secrets. The same both ways."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from .kinds import Kind

logger = logging.getLogger(__name__)

PICKLES = (
    ".bin",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".joblib",
    ".npy",
    ".npz",
    ".h5",
    ".hdf5",
    ".keras",
    ".pb",
    ".msgpack",
    ".ot",
    ".dill",
)
"""Endings of files that can run code when they are read, or stand for weights that are not safetensors."""

_SECRETS = (
    ("a Hub token", re.compile(r"(?<![A-Za-z0-9_])(?:hf|api_org)_[A-Za-z0-9]{16,}")),
    ("an Authorization header", re.compile(r"authorization[\"']?\s*[:=]\s*[\"']?\s*(?:bearer|basic|token)\b", re.I)),
    ("a bearer token", re.compile(r"\bbearer\s+[A-Za-z0-9._~+/-]{16,}", re.I)),
    ("a password in an address", re.compile(r"\bhttps?://[^\s/:@]+:[^\s/@]+@", re.I)),
)


def check_names(names: Iterable[str], kind: Kind, *, code: bool = False) -> list[str]:
    """Which of these files travel.

    Args:
        names: paths inside a folder or repository, divided by "/".
        code: whether the code files of a recommender travel too.

    Returns:
        Those on the kind's allow-list, sorted; the others are named in a warning and stay.

    Raises:
        ValueError: a name that could leave its folder or that no system agrees on, or a pickle; names it.
    """
    found = sorted(set(names))
    for name in found:
        require_plain(name)
        if PurePosixPath(name).suffix.lower() in PICKLES:
            raise ValueError(
                f"{name!r} is a pickle, or weights in another form than safetensors: reading it can run code, so it "
                "neither goes to the Hub nor comes from there. Save the weights as safetensors and remove it."
            )
    travel = [name for name in found if kind.allows(name, code)]
    left = [name for name in found if name not in travel]
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        logger.warning("left out, not part of a %s: %s", kind.name, shown)
    return travel


def require_plain(name: str) -> None:
    """Raise ValueError unless a name is a relative path inside its folder, the same on every system."""
    parts = name.split("/")
    reason = (
        "is empty"
        if not name
        else "is longer than 255 characters"
        if len(name) > 255
        else "has control characters"
        if any(not letter.isprintable() for letter in name)
        else "has a backslash or a colon"
        if "\\" in name or ":" in name
        else "leads out of its folder"
        if name.startswith(("/", "~")) or any(part in ("", ".", "..") for part in parts)
        else "is the version control's"
        if ".git" in parts
        else ""
    )
    if reason:
        raise ValueError(f"the file name {name[:300]!r} {reason}: nothing of that repository or folder is taken.")


def check_no_secret(text: str, where: str, secrets: Iterable[str] = ()) -> None:
    """Refuse a text that would take a token or a password to the Hub.

    Args:
        where: names the text in the error, which does not repeat the secret.
        secrets: strings that must not occur besides: the token in use.

    Raises:
        ValueError: one was found.
    """
    found = next((label for label, pattern in _SECRETS if pattern.search(text)), None)
    if found is None and any(secret and secret in text for secret in secrets):
        found = "the token in use"
    if found:
        raise ValueError(f"{where} holds {found}: nothing was pushed. Remove it, and revoke it where it was shared.")
