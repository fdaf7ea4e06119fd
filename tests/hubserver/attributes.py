"""Which files are large: told by size, by name (`.gitattributes`) and by a look at the first bytes."""

from __future__ import annotations

from fnmatch import fnmatch

LARGEST_REGULAR = 10 * 1024 * 1024  # bytes: the Hub's limit for a file in git itself

_EVERYWHERE = (
    "7z arrow bin bin.* bz2 ckpt ftz gz h5 joblib lfs.* mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt "
    "pth rar safetensors tar.* tar tflite tgz wasm xz zip zst"
)
_DATASETS = "lz4 mds pcm sam raw aac flac mp3 ogg wav bmp gif png tiff jpg jpeg webp mp4 webm"


def default_attributes(kind: str) -> bytes:
    """The `.gitattributes` with which the Hub starts a repository."""
    endings = _EVERYWHERE.split() + (_DATASETS.split() if kind == "datasets" else [])
    patterns = ["saved_model/**/*", "*tfevents*", *(f"*.{ending}" for ending in endings)]
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns).encode()


def is_large(path: str, size: int, sample: bytes, attributes: str) -> bool:
    """Whether a file of `size` bytes that begins with `sample` belongs into the large-file store.

    `attributes` is the text of the repository's `.gitattributes`: the last line that matches decides. An empty file is
    never large: the store takes none.
    """
    if size == 0:
        return False
    named = False
    for line in attributes.splitlines():
        pattern, *words = line.split() or [""]
        if pattern and not pattern.startswith("#") and _matches(path, pattern):
            named = "filter=lfs" in words
    return named or size > LARGEST_REGULAR or b"\0" in sample


def _matches(path: str, pattern: str) -> bool:
    """As git does: a pattern without a slash is about the name, any other about the whole path."""
    return fnmatch(path if "/" in pattern else path.rsplit("/", 1)[-1], pattern)
