"""Settings: a flag wins over its variable, a variable over the default; what can't be used is named."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoso import settings
from shoso.errors import ConfigError
from shoso.metadata.dialects.options import Options
from shoso.settings import SERVER, ServerSettings, server_settings
from shoso.stores.remote.store import RemoteOptions

GIVEN = {  # by field: two values as text, each with what it means
    "backend_store_uri": [("sqlite:///a.db", "sqlite:///a.db"), ("sqlite:///b.db", "sqlite:///b.db")],
    "read_replica_backend_store_uri": [
        ("postgresql://h/d", "postgresql://h/d"),
        ("mysql://h/d", "mysql://h/d"),
    ],
    "default_artifact_root": [("/a", "/a"), ("./b", "./b")],
    "artifacts_destination": [("/a", "/a"), ("./b", "./b")],
    "serve_artifacts": [("false", False), ("1", True)],
    "artifacts_only": [("TRUE", True), ("0", False)],
    "allow_artifact_root": [("s3://a/b, /mnt/c", ("s3://a/b", "/mnt/c")), ("/mnt/d", ("/mnt/d",))],
    "shared_filesystem": [("true", True), ("0", False)],
    "direct_transfers": [("true", True), ("0", False)],
    "public_endpoint_url": [("http://a:9000", "http://a:9000"), ("https://a/b/", "https://a/b")],
    "presigned_download_seconds": [("1", 1), ("604800", 604800)],
    "host": [("0.0.0.0", "0.0.0.0"), ("::1", "::1")],
    "port": [("0", 0), ("65535", 65535)],
    "workers": [("2", 2), ("8", 8)],
    "static_prefix": [("/a", "/a"), ("/a/b-c_d.e~f", "/a/b-c_d.e~f")],
    "allowed_hosts": [("a, b ,", ("a", "b")), ("*", ("*",))],
    "cors_allowed_origins": [("https://a", ("https://a",)), ("*", ("*",))],
    "x_frame_options": [("deny", "DENY"), ("None", "NONE")],
    "log_format": [("JSON", "json"), ("text", "text")],
    "request_silence": [("1.5", 1.5), ("60", 60.0)],
    "truncate_long_values": [("False", False), ("true", True)],
    "model_version_source": [("^s3://", "^s3://"), ("model", "model")],
}
BAD = {
    "serve_artifacts": ["yes", "2", "on"],
    "artifacts_only": ["maybe"],
    "shared_filesystem": ["nfs"],
    "direct_transfers": ["yes"],
    "public_endpoint_url": [
        "host:9000",
        "s3://bucket",
        "http://",
        "http://host?x",
        "http://host#x",
        "http://[::1",
    ],
    "presigned_download_seconds": ["0", "604801", "-1", "soon"],
    "port": ["-1", "65536", "http", "5000.0", ""],
    "workers": ["0", "-1", "many"],
    "static_prefix": [
        "a",
        "/",
        "/a/",
        "//a",
        "/a//b",
        "/{a}",
        "/a b",
        "/%61",
        "/ü",
        "/a?b",
        "/a#b",
        "/..",
        "/a/.",
    ],
    "x_frame_options": ["ALLOW", "ALLOW-FROM https://a"],
    "log_format": ["xml"],
    "request_silence": ["0", "-1", "soon", "nan", "inf"],
    "truncate_long_values": ["cut"],
    "model_version_source": ["("],
}
EVERY = [(setting, *given) for setting in SERVER for given in GIVEN[setting.field]]
EVERY_BAD = [(setting, text) for setting in SERVER for text in BAD.get(setting.field, ()) if text]


def value(setting, flags=(), environment=()):
    return getattr(server_settings(dict(flags), dict(environment)), setting.field)


@pytest.mark.parametrize("setting", SERVER, ids=lambda setting: setting.field)
def test_every_setting_is_tested_here_and_a_field_there(setting):
    assert setting.field in GIVEN
    assert setting.field in {field.name for field in dataclasses.fields(ServerSettings)}


@pytest.mark.parametrize(("setting", "text", "meant"), EVERY)
def test_a_flag_means_what_its_variable_means(setting, text, meant):
    assert value(setting, {setting.field: text}) == meant
    assert value(setting, (), {setting.variable: text}) == meant


@pytest.mark.parametrize("setting", SERVER, ids=lambda setting: setting.field)
def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default(setting):
    (first, meant), (second, other) = GIVEN[setting.field]
    assert value(setting, {setting.field: first}, {setting.variable: second}) == meant
    assert value(setting, {setting.field: None}, {setting.variable: second}) == other
    assert value(setting, {setting.field: None}) == setting.default


@pytest.mark.parametrize("setting", SERVER, ids=lambda setting: setting.field)
def test_an_empty_variable_is_none_and_an_empty_flag_is_the_default(setting):
    text, _ = GIVEN[setting.field][0]
    assert value(setting, (), {setting.variable: ""}) == setting.default
    assert value(setting, {setting.field: ""}, {setting.variable: text}) == setting.default


@pytest.mark.parametrize(("setting", "text"), EVERY_BAD)
def test_a_bad_value_is_named_with_where_it_came_from(setting, text):
    for source, flags, environment in (
        (setting.flag, {setting.field: text}, {}),
        (setting.variable, {}, {setting.variable: text}),
    ):
        with pytest.raises(ConfigError) as caught:
            server_settings(flags, environment)
        assert str(caught.value).startswith(f"{source}: ")
        assert text in str(caught.value)
        assert "literal" not in str(caught.value)
        assert str(caught.value).endswith(".")


@given(st.sampled_from(SERVER), st.text(st.characters(exclude_characters="\0"), max_size=20))
def test_any_text_is_a_value_or_named(setting, text):
    try:
        value(setting, (), {setting.variable: text})
    except ConfigError as error:
        assert str(error).startswith(("MLFLOW_", "SHOSO_", "--artifacts-only"))  # noqa: PT017


def test_two_settings_that_leave_nothing_to_serve_are_refused():
    with pytest.raises(ConfigError, match="--no-serve-artifacts"):
        server_settings({"artifacts_only": True, "serve_artifacts": False}, {})


IGNORED = [
    ("SHOSO_LOGFORMAT", "json", "SHOSO_LOG_FORMAT"),
    ("MLFLOW_REGISTRY_STORE_URI", "sqlite:///other.db", "registry"),
    ("MLFLOW_ENABLE_WORKSPACES", "true", "workspaces"),
    ("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "1", "--allowed-hosts"),
]


@pytest.mark.parametrize(("name", "value", "hint"), IGNORED)
def test_a_variable_that_would_be_ignored_is_refused_by_name(name, value, hint):
    with pytest.raises(ConfigError, match=f"{name}.*{hint}"):
        server_settings({}, {name: value})


def test_a_switch_of_mlflows_that_is_off_is_no_matter():
    server_settings({}, {"MLFLOW_ENABLE_WORKSPACES": "false", "MLFLOW_REGISTRY_STORE_URI": ""})


ROOTS = [
    ({}, "mlflow-artifacts:/"),
    ({"serve_artifacts": False}, str(Path("mlruns").absolute())),
    ({"default_artifact_root": "./x"}, str(Path("x").absolute())),
    ({"default_artifact_root": "/x"}, "/x"),
    ({"default_artifact_root": "s3://bucket/x"}, "s3://bucket/x"),
]


@pytest.mark.parametrize(("flags", "root"), ROOTS)
def test_a_relative_artifact_root_is_made_absolute(flags, root):
    assert server_settings(flags, {}).artifact_root == root


def test_nothing_else_reads_the_environment():
    """The settings are handed it. The command line looks it up, and the SDK, which keeps there what MLflow's
    own client keeps there for the children of a process: the server, the experiment, the run."""
    package = Path(inspect.getfile(settings)).parent
    readers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ("environ" in (text := path.read_text()) and "os.environ" in text) or "getenv" in text
    }
    cli = {"cli/db.py", "cli/imported.py", "cli/indexes.py", "cli/server.py", "cli/session.py"}
    cli |= {"cli/checked.py", "cli/collected.py", "cli/migrated.py"}
    state = {"client/active.py", "client/context.py", "client/current.py", "client/link.py"}
    terminal = {"client/progress.py"}
    assert readers == {*cli, *state, *terminal, "client/settings.py", "client/mlflow_plugin.py"}


def test_settings_show_no_password():
    place = "sftp://user:hunter2@host/x"
    given = {"artifacts_destination": place, "allow_artifact_root": (place,), "backend_store_uri": place}
    settings = server_settings(given, {"AWS_SECRET_ACCESS_KEY": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(RemoteOptions("http://user:hunter2@host"))


def test_the_pool_is_mlflows_by_its_variables():
    given = {
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20",
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "5",
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "60",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
        "MLFLOW_SQLALCHEMYSTORE_ECHO": "true",
        "SHOSO_DATABASE_TIMEOUT": "2.5",
        "MLFLOW_MYSQL_SSL_CA": "/ca.pem",
    }
    found = server_settings({}, given).database
    assert found == Options(20, 5, 60, "NullPool", True, 2.5, "/ca.pem")
    assert (found.writers, found.readers) == (4, 21)
    assert server_settings({}, {}).database == Options()


@pytest.mark.parametrize(
    ("size", "writers", "readers"), [(1, 1, 1), (2, 1, 1), (3, 1, 2), (8, 4, 4), (9, 4, 5)]
)
def test_a_pool_is_shared_out(size, writers, readers):
    found = Options(pool_size=size)
    assert (found.writers, found.readers) == (writers, readers)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "0", "use 1 or more"),
        ("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "many", "not a whole number"),
        ("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW", "-1", "use 0 or more"),
        ("MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE", "0", "use 1 or more"),
        ("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "StaticPool", "QueuePool"),
        ("SHOSO_DATABASE_TIMEOUT", "0", "seconds above 0"),
    ],
)
def test_a_wrong_option_of_the_database_is_told(variable, value, sentence):
    with pytest.raises(ConfigError) as caught:
        server_settings({}, {variable: value})
    assert str(caught.value).startswith(variable)
    assert sentence in str(caught.value)
