"""Raw HTTP: commits, all of them or nothing, and what is said before them about each file."""

from __future__ import annotations

import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import Raw, gone, large, regular
from tests.hubserver.storage import git_hash


def test_a_commit(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    first = raw.put(a_txt="a", sub__b_txt="b", sub__c_txt="c")
    oid = raw.upload(b"large")
    answer = raw.commit(
        regular("a.txt", b"A"),
        large("d.bin", oid, 5),
        gone("sub/b.txt"),
        gone("sub", "deletedFolder"),
        description="why",
    )
    told = answer.json
    assert (answer.status, told["commitUrl"]) == (200, f"{remote_hub.endpoint}/{raw.id}/commit/{told['commitOid']}")
    files = remote_hub.files(raw.id)
    assert {name: files[name] for name in files if name != ".gitattributes"} == {"a.txt": git_hash(b"A"), "d.bin": oid}
    assert remote_hub.files(raw.id, revision=first).keys() == {".gitattributes", "a.txt", "sub/b.txt", "sub/c.txt"}
    latest, before, initial = raw("GET", "API/commits/main").json
    assert (latest["id"], before["id"], initial["title"]) == (told["commitOid"], first, "initial commit")
    assert (latest["title"], latest["message"]) == ("change", "why")
    assert latest["authors"] == [{"user": remote_hub.namespace}]


def test_stale_parent(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    first = raw.put(a_txt="1")
    assert raw.commit(regular("a.txt", b"2"), parentCommit=first).status == 200
    late = raw.commit(regular("a.txt", b"3"), parentCommit=first)
    assert (late.status, late.json["error"]) == (412, "A commit has happened since. Please refresh and try again.")
    assert remote_hub.files(raw.id)["a.txt"] == git_hash(b"2")


def test_refused_commits(remote_hub: LoopbackHub) -> None:
    """One bad line keeps all others out."""
    raw = Raw(remote_hub)
    raw.put(a_txt="a", sub__b_txt="b")
    before = remote_hub.files(raw.id)
    good, oid = regular("good.txt", b"1"), raw.upload(b"large")
    refused = [
        (400, large("x.bin", "0" * 64, 1)),
        (400, large("x.bin", oid, 6)),
        (400, large("x.bin", "../../x", 5)),
        (400, {"key": "lfsFile", "value": {"path": "x.bin", "algo": "sha1", "oid": oid}}),
        (404, gone("nothing.txt")),
        (404, gone("sub")),
        (404, gone("nothing", "deletedFolder")),
        (400, {"key": "symlink", "value": {"path": "x"}}),
        (400, {"key": "file", "value": {"path": "x", "content": "%%%", "encoding": "base64"}}),
        (400, {"key": "file", "value": "x"}),
        (400, regular("a.txt/b.txt", b"")),
        (400, regular("sub", b"")),
        (400, regular("x.txt", b"1" * (10 * 1024 * 1024 + 1))),
        *(
            (400, regular(path, b""))
            for path in ("../x", "/x", "a//x", "a/../x", ".git/config", "a/.GIT/x", "a\\x", ".", "")
        ),
    ]
    for status, line in refused:
        answer = raw.commit(good, line)
        assert answer.status == status, (line, answer.body)
        assert answer.code == ("EntryNotFound" if status == 404 else None)
        assert remote_hub.files(raw.id) == before


def test_malformed_commits(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    for body in (b"", b"not json", b"[1]", b'{"key": "file", "value": {}}', b'{"key": "header", "value": {}}'):
        assert raw("POST", "API/commit/main", body).status == 400, body
    assert raw.commit(regular("a.txt", b""), branch="nothing").code == "RevisionNotFound"
    assert raw.commit(regular("a.txt", b""), branch=raw.put(a_txt="1")).code == "RevisionNotFound"
    assert raw("POST", "API/commit/main?create_pr=1", b'{"key": "header", "value": {"summary": "a"}}').status == 400


def test_a_branch_of_its_own(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    assert raw("POST", "API/branch/dev%2Fx", {}).status == 200
    assert raw.commit(regular("a.txt", b"a"), branch="dev%2Fx").status == 200
    assert "a.txt" in remote_hub.files(raw.id, revision="dev/x")
    assert "a.txt" not in remote_hub.files(raw.id)


def test_many_at_once(remote_hub: LoopbackHub) -> None:
    """No commit is lost, whoever comes when."""
    raw = Raw(remote_hub)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda number: raw.commit(regular(f"{number}.txt", b"%d" % number)), range(24))
        assert {answer.status for answer in answers} == {200}
    assert len(remote_hub.files(raw.id)) == 25
    assert len(remote_hub.history(raw.id)) == 25


def test_a_slow_commit(remote_hub: LoopbackHub) -> None:
    """What others commit while the lines of a commit come in stays."""
    raw = Raw(remote_hub)
    lines = ({"key": "header", "value": {"summary": "slow"}}, regular("slow.txt", b"1"))
    body = "\n".join(json.dumps(line) for line in lines).encode()
    connection = HTTPConnection(urlsplit(remote_hub.endpoint).netloc, timeout=30)
    connection.putrequest("POST", f"/api/models/{raw.id}/commit/main")
    connection.putheader("Authorization", f"Bearer {remote_hub.token}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:20])
    raw.put(a_txt="a")
    connection.send(body[20:])
    assert connection.getresponse().status == 200
    connection.close()
    assert remote_hub.files(raw.id).keys() == {".gitattributes", "a.txt", "slow.txt"}


@pytest.mark.parametrize(
    ("path", "size", "sample", "mode"),
    [
        ("config.json", 2, b"{}", "regular"),
        ("model.safetensors", 2, b"{}", "lfs"),
        ("data/train.parquet", 4, b"PAR1", "lfs"),
        ("saved_model/a/b", 1, b"a", "lfs"),
        ("text.csv", 10 * 1024 * 1024, b"a", "regular"),
        ("text.csv", 10 * 1024 * 1024 + 1, b"a", "lfs"),
        ("picture.xyz", 9, b"a\0b", "lfs"),
        ("empty.bin", 0, b"", "regular"),
    ],
)
def test_what_is_large(remote_hub: LoopbackHub, path: str, size: int, sample: bytes, mode: str) -> None:
    raw = Raw(remote_hub)
    asked = {"path": path, "size": size, "sample": b64encode(sample).decode()}
    (told,) = raw("POST", "API/preupload/main", {"files": [asked]}).json["files"]
    assert told == {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def test_own_attributes_and_what_is_there(remote_hub: LoopbackHub) -> None:
    """The repository's `.gitattributes` decides, the last line that fits; and each file is told with its hash."""
    raw = Raw(remote_hub)
    rules = "# *.txt filter=lfs\n*.csv filter=lfs -text\nsmall.csv -filter\n"
    oid = raw.upload(b"large")
    raw.commit(regular(".gitattributes", rules.encode()), regular("a.txt", b"a"), large("b.csv", oid))
    names = ("a.txt", "b.csv", "sub/small.csv")
    asked = [{"path": name, "size": 1, "sample": ""} for name in names]
    told = raw("POST", "API/preupload/main", {"files": asked}).json["files"]
    assert [each["uploadMode"] for each in told] == ["regular", "lfs", "regular"]
    assert [each["oid"] for each in told] == [git_hash(b"a"), oid, None]
    assert raw("POST", "API/preupload/main", {"files": [{"path": "../a", "size": 1, "sample": ""}]}).status == 400
    assert raw("POST", "API/preupload/nothing", {"files": []}).code == "RevisionNotFound"
