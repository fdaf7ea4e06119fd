"""Raw HTTP: who may create, see, change, move and delete what."""

from __future__ import annotations

import pytest

from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import Raw, call, regular


def test_who_am_i(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    told = raw("GET", "/api/whoami-v2").json
    assert (told["name"], told["auth"]["accessToken"]["role"]) == (remote_hub.namespace, "write")
    assert raw("GET", "/api/whoami-v2", token=remote_hub.read_token).json["auth"]["accessToken"]["role"] == "read"
    assert raw("GET", "/api/whoami-v2", token=None).status == 401


def test_a_token_of_nobody(remote_hub: LoopbackHub) -> None:
    """Refused whatever is asked for, public repositories included; the clients know the sentence."""
    raw = Raw(remote_hub)
    for path in ("/api/whoami-v2", "API", "/ID/resolve/main/.gitattributes"):
        answer = raw("GET", path, token="hf_nobody")
        assert answer.status == 401
        assert answer.headers["X-Error-Message"] == "Invalid credentials in Authorization header"


@pytest.mark.parametrize("kind", ["models", "datasets", "spaces"])
def test_create(remote_hub: LoopbackHub, kind: str) -> None:
    """A new repository has the Hub's first commit. A second one of the name is refused, and told where the first is."""
    raw = Raw(remote_hub, kind=kind, sdk="gradio")
    told = raw("GET", "API").json
    assert (told["id"], told["private"], told["gated"]) == (raw.id, False, False)
    assert told["siblings"] == [{"rfilename": ".gitattributes"}]
    again = raw("POST", "/api/repos/create", {"name": "repo", "type": kind[:-1], "sdk": "static"})
    prefix = "" if kind == "models" else f"{kind}/"
    assert (again.status, again.json["url"]) == (409, f"{remote_hub.endpoint}/{prefix}{raw.id}")


@pytest.mark.parametrize("name", ["", "-a", "a-", ".a", "a--b", "a..b", "a/b", "a b", "a.git", "ä", "a" * 97])
def test_bad_names(remote_hub: LoopbackHub, name: str) -> None:
    assert Raw(remote_hub)("POST", "/api/repos/create", {"name": name}).status == 400


def test_refused_creations(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    new = {"name": "new"}
    assert raw("POST", "/api/repos/create", new, token=None).status == 401
    assert raw("POST", "/api/repos/create", new, token=remote_hub.read_token).status == 403
    assert raw("POST", "/api/repos/create", {**new, "organization": remote_hub.other_namespace}).status == 403
    assert raw("POST", "/api/repos/create", {**new, "type": "space"}).status == 400
    assert raw("POST", "/api/repos/create", {**new, "type": "pipeline"}).status == 400
    assert raw("POST", "/api/repos/create", {"title": "new"}).status == 400
    assert raw("GET", f"/api/models/{remote_hub.namespace}/new").code == "RepoNotFound"


def test_private(remote_hub: LoopbackHub) -> None:
    """Nobody but its owner learns that a private repository is there: others get the answers of one that is not."""
    raw = Raw(remote_hub, visibility="private")
    missing = raw.id.replace("/repo", "/nothing")
    for path in ("API", "/ID/resolve/main/.gitattributes", "API/tree/main", "API/refs", "API/auth-check"):
        own, other, nobody = (raw("GET", path, token=token) for token in ("", remote_hub.other_token, None))
        assert (own.status, other.status, other.code, nobody.status) == (200, 404, "RepoNotFound", 401)
        for token, answer in ((remote_hub.other_token, other), (None, nobody)):
            there_not = raw("GET", path.replace("API", f"/api/models/{missing}").replace("ID", missing), token=token)
            assert (there_not.status, there_not.body) == (answer.status, answer.body)
    assert raw("PUT", "API/settings", {"visibility": "public"}).status == 200
    assert raw("GET", "API", token=None).status == 200


def test_writing_needs_a_right(remote_hub: LoopbackHub) -> None:
    """A read-only token of the owner and a writing one of somebody else are both refused; nothing changes."""
    raw = Raw(remote_hub)
    line = regular("a.txt", b"a")
    for token, status in ((remote_hub.read_token, 403), (remote_hub.other_token, 403), (None, 401)):
        assert raw.commit(line, token=token).status == status
        assert raw.batch("0" * 64, 1, token=token).status == status
        assert raw("POST", "API/preupload/main", {"files": []}, token=token).status == status
        assert raw("POST", "API/branch/dev", {}, token=token).status == status
        assert raw("POST", "API/tag/main", {"tag": "v1"}, token=token).status == status
        assert raw("PUT", "API/settings", {"visibility": "private"}, token=token).status == status
        gone = {"name": "repo", "organization": remote_hub.namespace}
        assert raw("DELETE", "/api/repos/delete", gone, token=token).status == status
        move = {"fromRepo": raw.id, "toRepo": f"{remote_hub.other_namespace}/repo"}
        assert raw("POST", "/api/repos/move", move, token=token).status == status
        assert raw("GET", "API/auth-check/write", token=token).status == status
        assert raw("GET", "API/auth-check", token=token).status == 200
    assert raw("GET", "API/auth-check/write").status == 200
    assert remote_hub.files(raw.id).keys() == {".gitattributes"}
    assert remote_hub.server.state.storage.get("models", raw.id).branches.keys() == {"main"}


def test_gated(remote_hub: LoopbackHub) -> None:
    """Everybody sees what is in a gated repository; the files are for those who were let in."""
    raw = Raw(remote_hub)
    other, file = remote_hub.other_token, "/ID/resolve/main/.gitattributes"
    assert raw("PUT", "API/settings", {"gated": "manual"}).json["gated"] == "manual"
    assert raw("GET", "API", token=None).json["gated"] == "manual"
    for path in (file, "API/auth-check"):
        assert [(each.status, each.code) for each in (raw("GET", path, token=other), raw("GET", path, token=None))] == [
            (403, "GatedRepo"),
            (401, "GatedRepo"),
        ]
        assert raw("GET", path).status == 200
    grant = "API/user-access-request/grant"
    assert raw("POST", grant, {"user": "nobody-at-all"}).status == 404
    assert raw("POST", grant, {"user": remote_hub.other_namespace}, token=other).status == 403
    assert raw("POST", grant, {"user": remote_hub.other_namespace}).status == 200
    assert raw("POST", grant, {"user": remote_hub.other_namespace}).status == 400
    assert raw("GET", file, token=other).status == 200


def test_move_and_delete(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    taken, new = Raw(remote_hub, "taken"), f"{remote_hub.namespace}/new"
    commit = raw.put(a_txt="a")
    assert raw("POST", "/api/repos/move", {"fromRepo": raw.id, "toRepo": taken.id}).status == 409
    assert raw("POST", "/api/repos/move", {"fromRepo": raw.id, "toRepo": f"{remote_hub.namespace}/--"}).status == 400
    assert raw("POST", "/api/repos/move", {"fromRepo": f"{raw.id}2", "toRepo": new}).code == "RepoNotFound"
    assert raw("POST", "/api/repos/move", {"fromRepo": raw.id, "toRepo": new}).status == 200
    assert raw("GET", "API").code == "RepoNotFound"
    moved = raw("GET", f"/api/models/{new}").json
    assert (moved["id"], moved["sha"]) == (new, commit)
    assert raw("GET", f"/{new}/resolve/main/a.txt").body == b"a"
    assert raw("DELETE", "/api/repos/delete", {"name": "new"}).status == 200
    assert raw("GET", f"/api/models/{new}").code == "RepoNotFound"
    assert raw("DELETE", "/api/repos/delete", {"name": "new"}).code == "RepoNotFound"


def test_list(remote_hub: LoopbackHub) -> None:
    """By author, words of the id and tags; private ones only for who may see them."""
    public, private = Raw(remote_hub, "public-one"), Raw(remote_hub, "private-one", visibility="private")
    public.put(README_md="---\nlicense: mit\ntags: [graph]\nlibrary_name: reclm-hf\n---\n")
    author = f"/api/models?author={remote_hub.namespace}"
    ids = lambda path, **options: [each["id"] for each in public("GET", path, **options).json]  # noqa: E731
    assert ids(author) == [private.id, public.id]
    assert ids(author, token=None) == ids(author, token=remote_hub.other_token) == [public.id]
    assert ids(f"{author}&search=PRIVATE") == [private.id]
    assert ids(f"{author}&filter=graph&filter=license:mit&filter=reclm-hf") == [public.id]
    assert ids(f"{author}&filter=graph&filter=license:apache-2.0") == []
    assert ids(f"{author}&limit=1") == [private.id]
    assert ids(f"/api/datasets?author={remote_hub.namespace}") == []


def test_unknown_addresses(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    assert raw("GET", "/api/pictures").status == 404
    assert raw("GET", "API/discussions").status == 404
    assert raw("GET", "/api/pictures/a/b").code == "RepoNotFound"
    assert raw("DELETE", "API/settings").status == 405
    assert call(remote_hub.endpoint + "/").status == 404
