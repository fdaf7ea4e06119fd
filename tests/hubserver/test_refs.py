"""Raw HTTP: branches, tags and the history."""

from __future__ import annotations

import pytest

from tests.hubserver import routes_refs
from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import Raw


def test_branches_and_tags(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    first, second = raw.put(a_txt="1"), raw.put(a_txt="2")
    assert raw("POST", "API/branch/dev%2Fx", {"startingPoint": first}).status == 200
    assert raw("POST", "API/branch/plain", {}).status == 200
    assert raw("POST", f"API/tag/{first}", {"tag": "v1", "message": "one"}).status == 200
    assert raw("POST", "API/tag/dev%2Fx", {"tag": "v1.1"}).status == 200
    told = raw("GET", "API/refs").json
    assert {each["name"]: each["targetCommit"] for each in told["branches"]} == {
        "main": second,
        "dev/x": first,
        "plain": second,
    }
    assert [(each["ref"], each["targetCommit"]) for each in told["tags"]] == [
        ("refs/tags/v1", first),
        ("refs/tags/v1.1", first),
    ]
    for revision in ("dev%2Fx", "v1"):
        assert raw("GET", f"/ID/resolve/{revision}/a.txt").body == b"1"
    assert raw("DELETE", "API/branch/dev%2Fx").status == raw("DELETE", "API/tag/v1").status == 200
    for revision in ("dev%2Fx", "v1"):
        assert raw("GET", f"/ID/resolve/{revision}/a.txt").code == "RevisionNotFound"
    assert raw("GET", "/ID/resolve/v1.1/a.txt").body == b"1"


def test_refused(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    commit = raw.put(a_txt="1")
    assert raw("POST", "API/branch/dev", {}).status == raw("POST", "API/tag/main", {"tag": "v1"}).status == 200
    assert raw("POST", "API/branch/dev", {}).status == 409
    assert raw("POST", "API/tag/main", {"tag": "v1"}).status == 409
    assert raw("POST", "API/branch/new", {"startingPoint": "nothing"}).code == "RevisionNotFound"
    assert raw("POST", "API/tag/nothing", {"tag": "v2"}).code == "RevisionNotFound"
    assert raw("POST", "API/tag/main", {}).status == 400
    for name in (commit, "a..b", "-a", "a.lock", "a b"):
        assert raw("POST", "API/tag/main", {"tag": name}).status == 400, name
    assert raw("DELETE", "API/branch/main").status == 403
    assert raw("DELETE", "API/branch/nothing").code == raw("DELETE", "API/tag/nothing").code == "RevisionNotFound"


def test_history_in_pages(remote_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_refs, "COMMITS_PAGE", 2)
    raw = Raw(remote_hub)
    made = [raw.put(a_txt=str(number)) for number in range(4)]
    first = raw("GET", "API/commits/main")
    assert [each["id"] for each in first.json] == [made[3], made[2]]
    assert first.headers["Link"] == f'<{remote_hub.endpoint}/api/models/{raw.id}/commits/main?p=1>; rel="next"'
    last = raw("GET", "API/commits/main?p=2")
    assert [each["title"] for each in last.json] == ["initial commit"]
    assert last.headers["Link"] is None
    assert len(raw("GET", f"API/commits/{made[0]}").json) == 2
