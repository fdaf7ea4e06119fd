"""The one client that talks to the Hub, and its errors in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .. import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

LIBRARY = "reclm-hf"


class StaleParentError(ValueError):
    """Somebody else changed a repository while it was being pushed to; nothing was written."""


def hub_api(endpoint: str | None = None, token: str | bool | None = None) -> HfApi:
    """A client that names this package and its version to the Hub.

    Args:
        endpoint: another server than the Hub's own; None takes what `huggingface_hub` is set to (HF_ENDPOINT).
        token: None takes HF_TOKEN or the one of `hf auth login`; False sends none.
    """
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token, library_name=LIBRARY, library_version=__version__)


def plain_id(name: str) -> tuple[str, str | None]:
    """`org/name` or `org/name@revision` in its two parts.

    Raises:
        ValueError: no Hub id of the form owner/name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repo_id, _, revision = name.partition("@")
    try:
        validate_repo_id(repo_id)
        if repo_id.count("/") != 1:
            raise HFValidationError("owner and name, divided by one slash, are needed")
    except HFValidationError as error:
        raise ValueError(f"{name!r} is no Hub id of the form owner/name ({error}).") from error
    return repo_id, revision or None


def repository_files(api: HfApi, repo_id: str, repo_type: str, revision: str | None) -> Iterator[RepoFile]:
    """The files of a repository at a revision, with their sizes and hashes; folders are gone through."""
    from huggingface_hub.hf_api import RepoFile

    for entry in api.list_repo_tree(repo_id, recursive=True, revision=revision, repo_type=repo_type):
        if isinstance(entry, RepoFile):
            yield entry


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into an OSError that names the repository, the reason and the way out.

    Args:
        doing: what was tried, as in "pushing to".

    Raises:
        StaleParentError: the server refused a commit because its parent is not the newest one any more.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils import httpx

    try:
        yield
    except RepositoryNotFoundError as error:
        raise OSError(
            f"{doing} {repo_id}: there is no such repository, or the token may not see it. Check the name; for a "
            "private one set HF_TOKEN or run `hf auth login`."
        ) from error
    except GatedRepoError as error:
        raise OSError(f"{doing} {repo_id}: access has to be asked for on its page first.") from error
    except LocalTokenNotFoundError as error:
        raise OSError(f"{doing} {repo_id}: a token is needed: set HF_TOKEN or run `hf auth login`.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 412:
            raise StaleParentError(
                f"{repo_id} was changed by somebody else in the meantime; nothing was written. Look at what is there, "
                "then repeat the push."
            ) from error
        advice = {
            401: " The token is not valid: set HF_TOKEN or run `hf auth login`.",
            403: " The token may not write there: it needs the role `write` in that namespace.",
        }.get(status, "")
        raise OSError(f"{doing} {repo_id}: {_first_line(error)}{advice}") from error
    except OfflineModeIsEnabled as error:
        raise OSError(f"{doing} {repo_id}: HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it.") from error
    except (httpx.HTTPError, ConnectionError, TimeoutError) as error:
        raise OSError(
            f"{doing} {repo_id}: the Hub could not be reached or broke off ({type(error).__name__}). Repeat the "
            "command: it goes on where it was."
        ) from error


def _first_line(error: Exception) -> str:
    said = getattr(error, "server_message", None) or str(error)
    return next((line.strip() for line in str(said).splitlines() if line.strip()), type(error).__name__)
