"""Raw HTTP: large files, whole and in parts, and the storage server at the other port."""

from __future__ import annotations

import hashlib

import pytest

from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import Raw, call, large

CONTENT = bytes(range(256)) * 100
OID = hashlib.sha256(CONTENT).hexdigest()


def test_upload_and_download(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    told = raw.batch(OID, len(CONTENT)).json
    actions = told["objects"][0]["actions"]
    assert told["transfer"] == "basic"
    assert raw("POST", "/ID.git/info/lfs/objects/verify", {"oid": OID, "size": len(CONTENT)}).status == 404
    assert call(actions["upload"]["href"], "PUT", CONTENT).status == 200
    assert actions["verify"]["href"].startswith(remote_hub.endpoint)
    assert raw("POST", "/ID.git/info/lfs/objects/verify", {"oid": OID, "size": len(CONTENT)}).status == 200
    assert raw("POST", "/ID.git/info/lfs/objects/verify", {"oid": OID, "size": 1}).status == 404
    assert "actions" not in raw.batch(OID, len(CONTENT)).json["objects"][0]
    commit = raw.commit(large("a.bin", OID, len(CONTENT))).json["commitOid"]

    for method in ("HEAD", "GET"):
        answer = raw(method, "/ID/resolve/main/a.bin")
        told = {name: answer.headers[name] for name in ("X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size")}
        assert answer.status == 302
        assert told == {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{OID}"', "X-Linked-Size": str(len(CONTENT))}
    address = answer.headers["Location"]
    assert not address.startswith(remote_hub.endpoint)
    assert call(address).body == CONTENT
    part = call(address, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, CONTENT[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"


def test_a_broken_upload_is_no_file(remote_hub: LoopbackHub) -> None:
    """Content that is not what its hash says is refused, and so is a commit that names it."""
    raw = Raw(remote_hub)
    href = raw.batch(OID, len(CONTENT)).json["objects"][0]["actions"]["upload"]["href"]
    answer = call(href, "PUT", CONTENT[:-1] + b"x")
    assert (answer.status, "sha256" in answer.json["error"]) == (400, True)
    assert raw.commit(large("a.bin", OID, len(CONTENT))).status == 400
    assert "actions" in raw.batch(OID, len(CONTENT)).json["objects"][0]
    store = remote_hub.server.state.storage.get("models", raw.id).folder / "lfs"
    assert list(store.iterdir()) == []


def test_in_parts(remote_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_hub.server.state, "part_size", 10_000)
    raw = Raw(remote_hub)
    assert "header" not in raw.batch(OID, len(CONTENT)).json["objects"][0]["actions"]["upload"]
    told = raw.batch(OID, len(CONTENT), transfers=("basic", "multipart")).json
    upload = told["objects"][0]["actions"]["upload"]
    header = {name: value for name, value in upload["header"].items() if name != "chunk_size"}
    assert (told["transfer"], upload["header"]["chunk_size"], list(header)) == (
        "multipart",
        "10000",
        ["00001", "00002", "00003"],
    )
    parts = []
    for number, href in enumerate(header.values()):
        answer = call(href, "PUT", CONTENT[number * 10_000 :][:10_000])
        parts.append({"partNumber": number + 1, "etag": answer.headers["ETag"]})
    other = [{**part, "etag": '"another"'} for part in parts]
    assert call(upload["href"], "POST", {"oid": OID, "parts": other}).status == 400
    assert call(upload["href"], "POST", {"oid": OID, "parts": parts}).status == 200
    assert raw.commit(large("a.bin", OID, len(CONTENT))).status == 200
    assert call(raw("GET", "/ID/resolve/main/a.bin").headers["Location"]).body == CONTENT


def test_storage_takes_no_token_and_no_guess(remote_hub: LoopbackHub) -> None:
    """A client that sends its token to another server fails here; an address without our signature is worth nothing."""
    raw = Raw(remote_hub, visibility="private")
    raw.commit(large("a.bin", raw.upload(CONTENT)))
    address = raw("GET", "/ID/resolve/main/a.bin").headers["Location"]
    token = {"Authorization": f"Bearer {remote_hub.token}"}
    upload = raw.batch("1" * 64, 1).json["objects"][0]["actions"]["upload"]["href"]
    for method, url in (("GET", address), ("PUT", upload)):
        assert call(url, method, headers=token).status == 400
        assert call(url.split("?")[0], method).status == 403
        assert call(url[:-1] + ("0" if url[-1] != "0" else "1"), method).status == 403
    assert call(address.replace(OID, "1" * 64)).status == 403


def test_an_object_is_its_repository_s(remote_hub: LoopbackHub) -> None:
    """Knowing the hash of a file in somebody's private repository is not enough to get it."""
    private, own = Raw(remote_hub, visibility="private"), Raw(remote_hub, "own")
    oid = private.upload(CONTENT)
    assert own.commit(large("a.bin", oid)).status == 400
    assert "actions" in own.batch(oid, len(CONTENT)).json["objects"][0]


def test_malformed_batches(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    assert raw.batch("not-a-hash", 1).status == 400
    assert raw.batch(OID, -1).status == 400
    body = {"operation": "download", "objects": [{"oid": OID, "size": 1}]}
    assert raw("POST", "/ID.git/info/lfs/objects/batch", body).status == 400
    assert raw("POST", "/ID.git/info/lfs/objects/batch", {**body, "operation": "delete"}).status == 400


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_other_kinds(remote_hub: LoopbackHub, kind: str) -> None:
    raw = Raw(remote_hub, kind=kind, sdk="static")
    raw.commit(large("a.bin", raw.upload(CONTENT)))
    answer = raw("GET", "/ID/resolve/main/a.bin")
    assert call(answer.headers["Location"]).body == CONTENT
    assert raw("POST", "/ID.git/info/lfs/objects/verify", {"oid": OID, "size": len(CONTENT)}).status == 200
