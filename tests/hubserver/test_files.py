"""Raw HTTP: looking into a repository, and its files with the headers that clients rely on."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import Raw, call, large
from tests.hubserver.storage import git_hash, pointer


@pytest.mark.parametrize("kind", ["models", "datasets", "spaces"])
def test_a_file(remote_hub: LoopbackHub, kind: str) -> None:
    raw = Raw(remote_hub, kind=kind, sdk="gradio")
    commit = raw.put(sub__a_txt="content")
    for revision in ("main", commit, commit[:9]):
        got, head = (raw(method, f"/ID/resolve/{revision}/sub/a.txt") for method in ("GET", "HEAD"))
        assert (got.status, got.body, head.status, head.body) == (200, b"content", 200, b"")
        for answer in (got, head):
            told = [answer.headers[name] for name in ("ETag", "X-Repo-Commit", "Content-Length", "Accept-Ranges")]
            assert told == [f'"{git_hash(b"content")}"', commit, "7", "bytes"]
            assert answer.headers["Content-Encoding"] is None


def test_ranges(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    raw.put(a_txt="0123456789")
    for asked, status, body in (
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=20-", 416, None),
    ):
        answer = raw("GET", "/ID/resolve/main/a.txt", headers={"Range": asked})
        assert (answer.status, answer.body if status == 206 else None) == (status, body)


def test_what_is_not_there(remote_hub: LoopbackHub) -> None:
    """Three different things are missing, and clients act differently. A missing file is one of a known commit."""
    raw = Raw(remote_hub)
    commit = raw.put(sub__a_txt="a")
    for path in ("/ID/resolve/main/b.txt", "/ID/resolve/main/sub", "API/tree/main/b", "API/tree/main/sub%2Fa.txt"):
        for method in ("GET", "HEAD")[: 2 if "resolve" in path else 1]:
            answer = raw(method, path)
            assert (answer.status, answer.code, answer.headers["X-Repo-Commit"]) == (404, "EntryNotFound", commit)
    for path in (
        "/ID/resolve/dev/a.txt",
        f"/ID/resolve/{'0' * 40}/a.txt",
        "API/tree/refs%2Fconvert%2Fparquet",
        "API/revision/v1",
    ):
        answer = raw("GET", path)
        assert (answer.status, answer.code, answer.headers["X-Repo-Commit"]) == (404, "RevisionNotFound", None)
    for path in ("/ID/resolve/main/a.txt", "API", "API/tree/main", "API/refs"):
        assert (
            raw("GET", path.replace("ID", f"{raw.id}2").replace("API", f"/api/models/{raw.id}2")).code == "RepoNotFound"
        )
    assert raw("GET", f"/datasets/{raw.id}/resolve/main/sub/a.txt").code == "RepoNotFound"


def test_no_way_out(remote_hub: LoopbackHub) -> None:
    """A path that climbs leads nowhere."""
    raw = Raw(remote_hub)
    for path in ("../../repo.json", "..%2F..%2Frepo.json", "%2e%2e/repo.json", "/etc/passwd"):
        assert raw("GET", f"/ID/resolve/main/{path}").status == 404
    assert raw("GET", f"/api/models/{remote_hub.namespace}/..").status == 404
    assert raw("GET", f"/api/models/..%2F..%2Fmodels/{raw.id}").status == 404


def test_tree(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    oid = raw.upload(b"large")
    raw.put(a_txt="a", sub__deep__b_txt="b", sub__c_txt="c")
    last = raw.commit(large("sub/d.bin", oid)).json["commitOid"]
    names = lambda path: [each["path"] for each in raw("GET", path).json]  # noqa: E731
    assert names("API/tree/main") == [".gitattributes", "a.txt", "sub"]
    assert names("API/tree/main/sub") == ["sub/c.txt", "sub/d.bin", "sub/deep"]
    assert names("API/tree/main/sub%2Fdeep") == ["sub/deep/b.txt"]
    every = [".gitattributes", "a.txt", "sub", "sub/c.txt", "sub/d.bin", "sub/deep", "sub/deep/b.txt"]
    assert names("API/tree/main?recursive=True&expand=False") == every
    told = {each["path"]: each for each in raw("GET", "API/tree/main/sub").json}
    assert told["sub/c.txt"] == {"type": "file", "oid": git_hash(b"c"), "size": 1, "path": "sub/c.txt"}
    assert told["sub/deep"]["type"] == "directory"
    size = len(pointer(oid, 5))
    assert told["sub/d.bin"]["lfs"] == {"oid": oid, "size": 5, "pointerSize": size}
    assert told["sub/d.bin"]["oid"] == git_hash(pointer(oid, 5)) != oid
    assert raw("GET", "API/tree/main").headers["X-Repo-Commit"] == last


def test_last_commits(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    first, second = raw.put(a_txt="a", sub__b_txt="b"), raw.put(a_txt="A")
    third = raw.put(sub__c_txt="c")
    told = {each["path"]: each["lastCommit"] for each in raw("GET", "API/tree/main?recursive=1&expand=1").json}
    initial = raw("GET", "API/commits/main").json[-1]["id"]
    wanted = {".gitattributes": initial, "a.txt": second, "sub": third, "sub/b.txt": first, "sub/c.txt": third}
    assert {path: last["id"] for path, last in told.items()} == wanted
    assert set(told["a.txt"]) == {"id", "title", "date"}


def test_pages(remote_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_hub.server.state, "page_size", 3)
    raw = Raw(remote_hub)
    raw.put(**{f"d__{number}_txt": "x" for number in range(7)})
    seen, path = [], "API/tree/main/d?recursive=True"
    while path:
        answer = raw("GET", path)
        seen.append([each["path"] for each in answer.json])
        link = answer.headers["Link"]
        path = link[1 : link.index(">")].removeprefix(remote_hub.endpoint) if link else ""
        assert not link or link.endswith('; rel="next"')
    assert [len(page) for page in seen] == [3, 3, 1]
    assert sum(seen, []) == [f"d/{number}.txt" for number in range(7)]  # noqa: RUF017


def test_paths_info(remote_hub: LoopbackHub) -> None:
    """A form with `paths` as often as there are paths; what is not there is left out."""
    raw = Raw(remote_hub)
    commit = raw.put(a_txt="a", sub__b_txt="b")
    form = urlencode([("paths", "sub"), ("paths", "nothing"), ("paths", "sub/b.txt"), ("expand", "true")])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = raw("POST", f"API/paths-info/{commit}", form, headers=headers)
    assert [(each["path"], each["type"]) for each in answer.json] == [("sub", "directory"), ("sub/b.txt", "file")]
    assert answer.json[1]["lastCommit"]["id"] == commit == answer.headers["X-Repo-Commit"]
    assert raw("POST", "API/paths-info/main", {"paths": ["a.txt"]}).json[0]["oid"] == git_hash(b"a")
    assert raw("POST", "API/paths-info/dev", form, headers=headers).code == "RevisionNotFound"


def test_info(remote_hub: LoopbackHub) -> None:
    """The hash of a large file is `sha256` here, `oid` in a tree."""
    raw = Raw(remote_hub)
    commit = raw.put(config_json=json.dumps({"model_type": "llama"}))
    oid = raw.upload(b"large")
    raw.commit(large("model.safetensors", oid))
    told = raw("GET", "API?blobs=true").json
    assert {"safetensors", "region:us"} <= set(told["tags"])
    (file,) = [each for each in told["siblings"] if each["rfilename"] == "model.safetensors"]
    assert file["lfs"] == {"sha256": oid, "size": 5, "pointerSize": len(pointer(oid, 5))}
    earlier = raw("GET", f"API/revision/{commit}")
    assert earlier.json["siblings"] == [{"rfilename": ".gitattributes"}, {"rfilename": "config.json"}]
    assert earlier.json["sha"] == commit == earlier.headers["X-Repo-Commit"]


def test_names_with_signs(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    name = "a b/ü#?%.txt"
    assert raw.commit({"key": "file", "value": {"path": name, "content": "eA==", "encoding": "base64"}}).status == 200
    assert call(f"{remote_hub.endpoint}/{raw.id}/resolve/main/a%20b/%C3%BC%23%3F%25.txt").body == b"x"
    assert raw("GET", "API/tree/main/a%20b").json[0]["path"] == name
