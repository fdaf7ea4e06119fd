"""Large files: the LFS protocol on the Hub's side, and the storage server that takes and gives the contents.

The storage server stands at another port, that is another origin, as in real life: its addresses are signed, and it
refuses a request that carries a token, so that a client which leaks its token there fails.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from tests.hubserver import errors
from tests.hubserver.state import Hub, State, Writable, state_from
from tests.hubserver.storage import Repo

SHA256 = r"^[0-9a-f]{64}$"
STORAGE = "/storage"  # where the addresses of the storage server begin: told from those of the Hub in the log
MEDIA_TYPE = "application/vnd.git-lfs+json"

router = APIRouter()
storage_router = APIRouter()


class LargeObject(BaseModel):
    oid: str = Field(pattern=SHA256)
    size: int = Field(ge=0)


class Batch(BaseModel):
    operation: Literal["upload", "download"]
    objects: list[LargeObject]
    transfers: list[str] = ["basic"]
    hash_algo: Literal["sha256"] = "sha256"


class Part(BaseModel):
    partNumber: int
    etag: str


class Completion(BaseModel):
    oid: str = Field(pattern=SHA256)
    parts: list[Part]


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch")
async def batch_model(hub: Hub, repo: Writable, batch: Batch) -> Response:
    return _batch(hub, repo, batch)


@router.post("/{kind}/{namespace}/{name}.git/info/lfs/objects/batch")
async def batch(hub: Hub, repo: Writable, batch: Batch) -> Response:
    return _batch(hub, repo, batch)


def _batch(hub: State, repo: Repo, batch: Batch) -> Response:
    """Where to upload each object; no `actions` for one that is there already."""
    if batch.operation != "upload":
        raise errors.bad_request("only the operation 'upload' is known: downloads go through /resolve/")
    in_parts = "multipart" in batch.transfers and any(each.size > hub.part_size for each in batch.objects)
    told: list[dict[str, Any]] = []
    for each in batch.objects:
        told.append({"oid": each.oid, "size": each.size})
        if repo.large_entry(each.oid) is None:
            told[-1]["actions"] = _actions(hub, repo, each, in_parts=in_parts and each.size > hub.part_size)
    transfer = "multipart" if in_parts else "basic"
    return JSONResponse({"transfer": transfer, "objects": told}, media_type=MEDIA_TYPE)


def _actions(hub: State, repo: Repo, large: LargeObject, *, in_parts: bool) -> dict[str, Any]:
    name = f"{repo.kind}/{repo.repo_id}/{large.oid}"
    base = f"{STORAGE}/{name}"
    verify = {"href": f"{hub.endpoint}/{repo.prefix}{repo.repo_id}.git/info/lfs/objects/verify"}
    if not in_parts:
        return {"upload": {"href": hub.signed(hub.cdn, base)}, "verify": verify}
    count = ceil(large.size / hub.part_size)
    header = {f"{number:05d}": hub.signed(hub.cdn, f"{base}/{number}") for number in range(1, count + 1)}
    header["chunk_size"] = str(hub.part_size)
    return {"upload": {"href": hub.signed(hub.endpoint, f"/api/complete/{name}"), "header": header}, "verify": verify}


@router.post("/{namespace}/{name}.git/info/lfs/objects/verify")
async def verify_model(repo: Writable, large: LargeObject) -> Response:
    return _verify(repo, large)


@router.post("/{kind}/{namespace}/{name}.git/info/lfs/objects/verify")
async def verify(repo: Writable, large: LargeObject) -> Response:
    return _verify(repo, large)


def _verify(repo: Repo, large: LargeObject) -> Response:
    entry = repo.large_entry(large.oid)
    if entry is None or entry.size != large.size:
        raise errors.HubError(404, f"object {large.oid} of {large.size} bytes has not been uploaded")
    return JSONResponse({}, media_type=MEDIA_TYPE)


async def signed_path(request: Request) -> str:
    """The path of the address, which must carry our signature."""
    path = str(request.scope["path"])
    if request.query_params.get("signature") != state_from(request).signature(path):
        raise errors.forbidden("SignatureDoesNotMatch")
    return path


async def stored_repo(request: Request, path: Annotated[str, Depends(signed_path)]) -> Repo:
    """The repository of a signed address; a token is refused, for the address is all that is needed."""
    if "authorization" in request.headers:
        raise errors.bad_request("only one way to prove who you are is allowed: the signature")
    names = request.path_params
    return state_from(request).storage.get(names["kind"], f"{names['namespace']}/{names['name']}")


Stored = Annotated[Repo, Depends(stored_repo)]


@storage_router.put(STORAGE + "/{kind}/{namespace}/{name}/{oid}")
async def put(request: Request, repo: Stored, oid: str) -> Response:
    """The whole of an object."""
    part = await _receive(request, repo, oid)
    _accept(repo, part, oid)
    return Response(headers={"ETag": f'"{oid}"'})


@storage_router.put(STORAGE + "/{kind}/{namespace}/{name}/{oid}/{number}")
async def put_part(request: Request, repo: Stored, oid: str, number: int) -> Response:
    """One part of an object. What is answered as `ETag` comes back when the upload is completed."""
    part = await _receive(request, repo, oid)
    os.replace(part, path := repo.large_file(f"{oid}.{number}"))
    return Response(headers={"ETag": f'"{_digest(path)}"'})


@router.post("/api/complete/{kind}/{namespace}/{name}/{oid}")
async def complete(repo: Stored, oid: str, completion: Completion) -> Response:
    """Join the parts of an object."""
    paths = [repo.large_file(f"{oid}.{part.partNumber}") for part in completion.parts]
    for part, path in zip(completion.parts, paths, strict=True):
        if not path.is_file() or f'"{_digest(path)}"' != part.etag:
            raise errors.bad_request(f"part {part.partNumber} has not been uploaded, or another one than told")
    whole = repo.large_file(f"{oid}.part{secrets.token_hex(4)}")
    with whole.open("wb") as file:
        for path in paths:
            file.write(path.read_bytes())
            path.unlink()
    _accept(repo, whole, oid)
    return Response()


@storage_router.api_route(STORAGE + "/{kind}/{namespace}/{name}/{oid}", methods=["GET", "HEAD"])
async def get(repo: Stored, oid: str) -> Response:
    """The content of a large file, or a part of it."""
    path = repo.large_file(oid)
    if not path.is_file():
        raise errors.HubError(404, f"no object {oid}")
    return FileResponse(path, headers={"ETag": f'"{oid}"'}, media_type="application/octet-stream")


async def _receive(request: Request, repo: Repo, name: str) -> Path:
    """The body of the request as a file beside its final place; nothing where the client goes away."""
    path = repo.large_file(f"{name}.part{secrets.token_hex(4)}")
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
    except ClientDisconnect:
        path.unlink()
        raise
    return path


def _accept(repo: Repo, part: Path, oid: str) -> None:
    """Keep an object if it is what its name says; a broken upload never becomes one."""
    digest = _digest(part)
    if digest != oid:
        part.unlink()
        raise errors.bad_request(f"the content has the sha256 {digest}, not {oid}")
    os.replace(part, repo.large_file(oid))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
