"""Paths that lead elsewhere: refused by every route that takes one, and nothing is touched, in or out."""

from __future__ import annotations

import json
from urllib.parse import quote, unquote

import pytest
from tests.server.sockets import API, ARTIFACTS, OBJECTS, ask, post, put, read, require_refusal
from tests.server.trees import changes, snapshot

CLIMBING = [
    "..",
    "../canary/secret",
    "a/../x",
    "a/../../canary/secret",
    "a/..",
    "%2e%2e",
    "%2E%2E/x",
    "%2e%2e%2fx",
    "..%2fx",
    ".%2e/x",
    "a%2f..%2f..%2fx",
    "%252e%252e",
    "%252e%252e%252fx",
    "..%252fx",
    "%25252e%25252e%25252fx",
    "%2525252525252e%2525252525252e",
    "..\\x",
    "..%5cx",
    "..%255cx",
    "a%5c..%5c..%5cx",
    "a\\..\\x",
]
ABSOLUTE = ["/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd", "%2f%2fetc"]
HOLLOW = ["//", "/", "%2f", "a//b", "a%2f%2fb", ".", "%2e", "./", "./a", "a/.", "a/./b", "a/%2e/b", "a%2f."]
CONTROL = ["a%00b", "%00", "..%00/x", "ok.txt%00.png", "a%0ab", "a%0d%0aSet-Cookie:%20x", "%1b[2J", "a%7fb"]
NO_UNICODE = ["%ff", "%c0%ae%c0%ae/x", "%c0%af", "a/%e0%80%af", "%ed%a0%80", "%f8%88%80%80%af"]
TOO_LONG = ["x" * 2000, "x/" * 1000 + "x", "%c3%a9" * 600]
TEMPORARY = [".artifact.uploading.x", "a/.artifact.uploading.x"]
TRICKS = [*CLIMBING, *ABSOLUTE, *HOLLOW, *CONTROL, *NO_UNICODE, *TOO_LONG, *TEMPORARY]

AT_THE_ROOT = [".shoso", ".shoso/lock", ".shoso/drafts/x", "%2eshoso/lock", "%5cetc", "C:%5cx", "C:/x"]
"""What only the root of the store can't take: below a run these are names like any other."""


@pytest.fixture(scope="module")
def server(launch):
    """One of our own, so that the whole of its folder can be compared."""
    server = launch()
    (server.folder / "canary").mkdir()
    (server.folder / "canary" / "secret").write_text("secret")
    return server


class World:
    """A run and a logged model with a file each, and every way to name one of their files."""

    def __init__(self, server) -> None:
        self.server = server
        experiment = post(server, "experiments/create", {"name": "world"}).json["experiment_id"]
        run = post(server, "runs/create", {"experiment_id": experiment}).json["run"]["info"]
        model = post(server, "logged-models", {"experiment_id": experiment, "name": "m"}).json["model"][
            "info"
        ]
        self.run, self.model = run["run_id"], model["model_id"]
        for uri in (run["artifact_uri"], model["artifact_uri"]):
            assert put(server, uri.removeprefix("mlflow-artifacts:/") + "/a/file", b"inside").status == 200
        assert put(server, "a/file", b"inside").status == 200
        self.before = self.seen()

    def seen(self):
        return snapshot(self.server.artifacts, self.server.folder / "canary")

    def named_in_paths(self, trick: str):
        """Every route that has the trick in its path, with the answer."""
        for root in (ARTIFACTS, "/ajax-api/2.0/mlflow-artifacts/artifacts", OBJECTS):
            for method in ("GET", "HEAD", "PUT"):
                yield method, f"{root}/{trick}"
        yield "DELETE", f"{ARTIFACTS}/{trick}"

    def named_in_queries(self, trick: str):
        """Every route that has the trick in its query."""
        yield "GET", f"{ARTIFACTS}?path={trick}"
        yield "GET", f"{OBJECTS}?prefix={trick}"
        yield "GET", f"{OBJECTS}?deep=true&prefix={trick}"
        yield "GET", f"/api/shoso/1/uploads?prefix={trick}"
        yield "PUT", f"/api/shoso/1/uploads/{'0' * 32}/1?key={trick}"
        yield "GET", f"{API}/artifacts/list?run_id={self.run}&path={trick}"
        yield "GET", f"/get-artifact?run_id={self.run}&path={trick}"
        yield "HEAD", f"/get-artifact?run_id={self.run}&path={trick}"
        yield "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={self.run}&path={trick}"
        models = "/ajax-api/2.0/mlflow/logged-models"
        yield "GET", f"{models}/{self.model}/artifacts/files?artifact_file_path={trick}"
        yield "GET", f"{models}/{self.model}/artifacts/directories?artifact_directory_path={trick}"

    def named_in_bodies(self, trick: str):
        """Every call that has the trick in its JSON."""
        yield "delete", {"keys": [trick]}
        yield "uploads", {"key": trick}


@pytest.fixture(scope="module")
def world(server):
    return World(server)


@pytest.fixture(autouse=True)
def _nothing_changes(world):
    """No test here changes a file, makes a folder or leaves a draft."""
    yield
    assert not changes(world.before, world.seen())


def _require_refused(answer, where) -> None:
    assert 400 <= answer.status < 500, (where, answer)
    if answer.body:
        require_refusal(answer, 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("trick", [*TRICKS, *AT_THE_ROOT, "x" * 256])
def test_a_trick_in_a_path_is_refused(server, world, trick):
    for method, target in world.named_in_paths(trick):
        _require_refused(ask(server, method, target, b"evil" if method == "PUT" else None), (method, target))


LISTED = {"/", "%2f", "./"}
"""What names the root of a listing, or is one slash too many for some: tested below."""


@pytest.mark.parametrize("trick", [trick for trick in TRICKS if trick not in LISTED])
def test_a_trick_in_a_query_is_refused(server, world, trick):
    for method, target in world.named_in_queries(trick):
        body = b"evil" if method in {"PUT", "POST"} else None
        _require_refused(ask(server, method, target, body), (method, target))


@pytest.mark.parametrize("trick", AT_THE_ROOT)
def test_a_trick_in_the_query_of_a_listing_is_refused(server, trick):
    for target in (
        f"{ARTIFACTS}?path={trick}",
        f"{OBJECTS}?prefix={trick}",
        f"{OBJECTS}?deep=1&prefix={trick}",
    ):
        _require_refused(ask(server, "GET", target), target)


@pytest.mark.parametrize("trick", [trick for trick in (*TRICKS, *AT_THE_ROOT) if trick not in NO_UNICODE])
def test_a_trick_in_a_body_is_refused_before_anything_is_done(server, world, trick):
    for call, fields in world.named_in_bodies(unquote(trick, errors="strict")):
        body = json.dumps(fields).encode()
        answer = ask(server, "POST", f"/api/shoso/1/{call}", body, content_type="application/json")
        _require_refused(answer, (call, fields))


@pytest.mark.parametrize(
    "path", ["", "/", "//", ".", "./", "%2e", "%2f", "?path=.", "?path=", "/.", "%00", "*"]
)
def test_delete_without_a_name_deletes_nothing(server, path):
    target = ARTIFACTS + path if path.startswith("?") else f"{ARTIFACTS}/{path}"
    assert ask(server, "DELETE", target).status in ({200} if path == "*" else {400, 404, 405})
    assert ask(server, "DELETE", ARTIFACTS).status == 405


def test_one_slash_behind_a_folder_to_delete_is_taken(server, unique):
    """`mlflow gc` names a run's folder so."""
    at = f"{ARTIFACTS}/0/{unique}/artifacts"
    assert ask(server, "PUT", f"{at}/a.txt", b"a").status == 200
    assert ask(server, "DELETE", f"{at}/").status == 200
    assert ask(server, "GET", f"{at}/a.txt").status == 404


HALF_NAMED = [
    [""],
    ["a/file", ""],
    ["."],
    ["a/file", "../x"],
    ["a/file", "a%2f..%2fb"],
    ["a/file", None],
    [5],
]


@pytest.mark.parametrize("keys", HALF_NAMED)
def test_delete_of_keys_that_name_nothing_deletes_nothing(server, keys):
    body = json.dumps({"keys": keys}).encode()
    answer = ask(server, "POST", "/api/shoso/1/delete", body, content_type="application/json")
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "path", ["%ff", b"\xff", "é".encode(), b"\xc0\xae", b"a b", b"a\tb", b"a#b", b"#", b"?a#b"]
)
def test_a_path_that_no_url_may_hold_is_refused_by_every_method(server, path):
    raw = path if isinstance(path, bytes) else path.encode()
    for method in ("GET", "PUT", "DELETE"):
        answer = ask(server, method, ARTIFACTS.encode() + b"/" + raw, b"" if method == "PUT" else None)
        assert answer.status == 400, (method, answer)
        assert answer.json["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("segment", ["..", "%2e%2e", ".", "", "%2f", "a%00"])
def test_a_trick_for_an_id_is_no_run_and_no_model(server, world, segment):
    for target in (
        f"{API}/runs/get?run_id={segment}",
        f"{API}/artifacts/list?run_id={segment}&path=a",
        f"/get-artifact?run_id={segment}&path=a/file",
        f"{API}/logged-models/{segment}",
        f"/ajax-api/2.0/mlflow/logged-models/{segment}/artifacts/files?artifact_file_path=a/file",
        f"/api/shoso/1/uploads/{segment}?key=a/file",
    ):
        assert 400 <= ask(server, "GET", target).status < 500, target


HARMLESS = [
    "a%23b",
    "a%3fb",
    "a%26b=c",
    "a%20b",
    "a%25b",
    "%2541",
    "a..b",
    "...",
    "..a",
    "a%2bb",
    "~",
    "a;b",
    "é",
]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_that_only_looks_like_a_trick_is_kept_to_the_byte(server, unique, name):
    path = f"{unique}/{quote(name, safe='%=~;')}"
    assert put(server, path, b"x").status == 200
    try:
        kept = [file.name for file in (server.artifacts / unique).iterdir()]
        assert kept == [unquote(name)]
        assert read(server, path).body == b"x"
        assert ask(server, "GET", f"{OBJECTS}/{path}").body == b"x"
    finally:
        assert ask(server, "DELETE", f"{ARTIFACTS}/{path}").status == 200


# -- symlinks ---------------------------------------------------------------------------------------------


@pytest.fixture
def links(server, world):
    """Symlinks planted in the store and in the artifacts of a run: out of the root, and within it."""
    run = next(path for path in server.artifacts.rglob(f"{world.run}/artifacts"))
    canary = server.folder / "canary"
    planted = [folder / name for folder in (server.artifacts, run) for name in sorted(LINK_NAMES)]
    for path in planted:
        targets = {"out": canary, "file": canary / "secret", "in": server.artifacts / "a"}
        path.symlink_to(targets.get(path.name, canary / "missing"))
    yield planted
    for path in planted:
        path.unlink(missing_ok=True)


LINK_NAMES = {"out", "file", "in", "dangling"}
LINKED = [*sorted(LINK_NAMES), "out/secret", "in/file", "out/new", "in/new", "dangling/new", "out/a/b"]


@pytest.mark.parametrize("path", LINKED)
@pytest.mark.usefixtures("links")
def test_nobody_reads_or_writes_through_a_symlink(server, world, path):
    asked = [*world.named_in_paths(path), *world.named_in_queries(path)]
    planted = world.seen()
    for method, target in asked:
        if method in {"DELETE", "POST"} or (method == "PUT" and path in LINK_NAMES):
            continue
        answer = ask(server, method, target, b"evil" if method == "PUT" else None)
        assert b"secret" not in answer.body.replace(b"out/secret", b"")
        listing = method == "GET" and "?" in target and answer.status == 200
        assert listing or 400 <= answer.status < 500, (method, target, answer)
        assert not listing or not answer.json.get(
            "files", answer.json.get("entries", answer.json.get("uploads"))
        )
    assert not changes(planted, world.seen())


@pytest.mark.parametrize("name", sorted(LINK_NAMES))
def test_a_put_takes_the_place_of_a_symlink_and_leaves_what_it_points_to(server, world, links, name):
    targets = world.seen()
    assert put(server, name, b"new").status == 200
    assert changes(targets, world.seen()) == {str(server.artifacts / name)}
    assert read(server, name).body == b"new"
    assert not (server.artifacts / name).is_symlink()


@pytest.mark.parametrize("path", LINKED)
def test_a_deletion_takes_at_most_the_link_itself(server, world, links, path):
    targets = world.seen()
    assert ask(server, "DELETE", f"{ARTIFACTS}/{path}").status < 500
    body = json.dumps({"keys": [path]}).encode()
    assert ask(server, "POST", "/api/shoso/1/delete", body, content_type="application/json").status < 500
    assert changes(targets, world.seen()) <= {str(link) for link in links}


@pytest.mark.usefixtures("links")
def test_a_listing_shows_no_symlink(server, world):
    for target in (f"{ARTIFACTS}?path=", f"{API}/artifacts/list?run_id={world.run}", f"{OBJECTS}?deep=true"):
        shown = ask(server, "GET", target).json
        names = {entry.get("path") or entry.get("key") for entry in shown.get("files") or shown["entries"]}
        assert names
        assert not {name for name in names if name.rpartition("/")[2] in LINK_NAMES and "a/file" not in name}
