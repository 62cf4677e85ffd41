"""Where an HDFS URI leads by the configuration, and the sentence of each that leads nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.hdfs import write_site

from shoso.errors import ConfigError
from shoso.stores import open_store
from shoso.stores.hdfs.configuration import expanded, extra, load, place
from shoso.stores.hdfs.names import kept, plain

HA = {
    "fs.defaultFS": "hdfs://prod/",
    "dfs.nameservices": "prod",
    "dfs.ha.namenodes.prod": "nn1,nn2",
    "dfs.namenode.rpc-address.prod.nn1": "a.example:8020",
    "dfs.namenode.rpc-address.prod.nn2": "b.example:8020",
}
VIEW = {
    "fs.defaultFS": "viewfs://all",
    "fs.viewfs.mounttable.all.link./data": "hdfs://prod/warehouse",
    "fs.viewfs.mounttable.all.link./data/new": "hdfs://c.example:9000/",
    "fs.viewfs.mounttable.all.link./old": "s3a://bucket/",
}


@pytest.mark.parametrize(
    ("uri", "properties", "address", "folder", "namenodes"),
    [
        ("hdfs://h:9000/a/b/", {}, "hdfs://h:9000", "/a/b", 1),
        ("hdfs://h/a", {}, "hdfs://h:8020", "/a", 1),
        ("hdfs://h", {}, "hdfs://h:8020", "/", 1),
        ("hdfs://h:/a", {}, "hdfs://h:8020", "/a", 1),
        ("hdfs://a_b/a", {}, "hdfs://a_b:8020", "/a", 1),
        ("hdfs://[::1]/a", {}, "hdfs://[::1]:8020", "/a", 1),
        ("hdfs://prod/a", HA, "hdfs://prod", "/a", 2),
        ("hdfs:/a%20b", HA, "hdfs://prod", "/a%20b", 2),
        ("hdfs:///a", HA, "hdfs://prod", "/a", 2),
        ("viewfs://all/data/x", {**HA, **VIEW}, "hdfs://prod", "/warehouse/x", 2),
        ("viewfs:/data", {**HA, **VIEW}, "hdfs://prod", "/warehouse", 2),
        ("hdfs:/data/new/x", VIEW, "hdfs://c.example:9000", "/x", 1),
        ("viewfs://all/data/newer", {**HA, **VIEW}, "hdfs://prod", "/warehouse/newer", 2),
        ("viewfs://v/x", {"fs.viewfs.mounttable.v.linkFallback": "hdfs://h/y"}, "hdfs://h:8020", "/y/x", 1),
    ],
)
def test_a_uri_leads_to(uri, properties, address, folder, namenodes):
    found = place(uri, properties)
    assert (found.address, found.folder, found.namenodes) == (address, folder, namenodes)


def test_the_user_of_the_uri_is_kept_out_of_the_address():
    found = place("hdfs://alice@h:9000/a", {})
    assert (found.address, found.user) == ("hdfs://h:9000", "alice")


@pytest.mark.parametrize(
    ("uri", "properties", "names", "fix"),
    [
        ("hdfs:/a", {}, "hdfs:/a", "set HADOOP_CONF_DIR"),
        ("hdfs://h:port/a", {}, "hdfs://h:port/a", "'h:port' is no host:port of a NameNode"),
        ("hdfs://h:99999/a", {}, "hdfs://h:99999/a", "namenode.example.com:8020"),
        ("hdfs://h:0/a", {}, "hdfs://h:0/a", "'h:0' is no host:port"),
        ("hdfs://a b/a", {}, "hdfs://a b/a", "'a b' is no host:port"),
        ("hdfs:/a", {"fs.defaultFS": "hdfs://h:port"}, "hdfs:/a", "'h:port' is no host:port"),
        (
            "hdfs://ns/a",
            {"dfs.ha.namenodes.ns": "x, y"},
            "rpc-address.ns.x, dfs.namenode.rpc-address.ns.y",
            "write host:port of each NameNode in hdfs-site.xml",
        ),
        ("hdfs:/a", {"fs.defaultFS": "file:///"}, "hdfs:/a", "hdfs://host:port/path"),
        ("viewfs://other/data", VIEW, "viewfs://other/data", "fs.viewfs.mounttable.other"),
        ("viewfs://all/nowhere", VIEW, "viewfs://all/nowhere", "/data, /data/new, /old"),
        ("viewfs://all/old/x", VIEW, "viewfs://all/old/x", "only hdfs://… will do"),
        ("hdfs://u:secret@h/a", {}, "hdfs://u:***@h/a", "hdfs://user@host:port/path"),
    ],
)
def test_a_uri_that_leads_nowhere_is_named_with_the_fix(uri, properties, names, fix):
    with pytest.raises(ConfigError) as caught:
        place(uri, properties)
    assert names in caught.value.message
    assert fix in caught.value.message
    assert "secret" not in repr(caught.value)


def test_a_folder_without_site_files_is_named(tmp_path):
    with pytest.raises(ConfigError, match=f"set HADOOP_CONF_DIR \\(now '{tmp_path}'\\) to the folder"):
        open_store("hdfs:/a", {"HADOOP_CONF_DIR": str(tmp_path)})


def test_the_site_files_are_found_as_hadoop_finds_them(tmp_path):
    for name in ("first", "second", "home/etc/hadoop"):
        (tmp_path / name).mkdir(parents=True)
        write_site(tmp_path / name / "core-site.xml", {"fs.defaultFS": f"hdfs://{name[0]}:1"})
    (tmp_path / "empty").mkdir()
    path = f"{tmp_path}/some.jar:{tmp_path}/empty:{tmp_path}/second:{tmp_path}/first"
    home = {"HADOOP_HOME": f"{tmp_path}/home"}
    assert load({}) == {}
    assert load(home)["fs.defaultFS"] == "hdfs://h:1"
    assert load({**home, "CLASSPATH": path})["fs.defaultFS"] == "hdfs://s:1"
    everything = {**home, "CLASSPATH": path, "HADOOP_CONF_DIR": f"{tmp_path}/first"}
    assert load(everything)["fs.defaultFS"] == "hdfs://f:1"


def test_a_later_file_wins_and_variables_are_expanded(tmp_path):
    write_site(
        tmp_path / "core-site.xml", {"host": "h", "fs.defaultFS": "hdfs://${host}:${port}", "port": "1"}
    )
    write_site(tmp_path / "hdfs-site.xml", {"port": "2", "loop": "${loop}", "unknown": "${user.none}"})
    found = expanded(load({"HADOOP_CONF_DIR": str(tmp_path)}))
    assert found["fs.defaultFS"] == "hdfs://h:2"
    assert found["loop"] == "${loop}"
    assert found["unknown"] == "${user.none}"


def test_a_broken_site_file_is_named(tmp_path):
    (tmp_path / "core-site.xml").write_text("<configuration><property>")
    with pytest.raises(ConfigError, match=r"HADOOP_CONF_DIR: .*core-site\.xml can't be read"):
        open_store("hdfs:/x", {"HADOOP_CONF_DIR": str(tmp_path)})


def test_mlflows_extra_configuration():
    assert extra("a=1, b = x=y ,") == {"a": "1", "b": "x=y"}
    with pytest.raises(ConfigError, match="MLFLOW_PYARROW_EXTRA_CONF: 'nonsense' is no key=value"):
        open_store("hdfs://h/x", {"MLFLOW_PYARROW_EXTRA_CONF": "a=1,nonsense"})


def test_a_symbolic_umask_is_refused():
    with pytest.raises(ConfigError, match=r"fs\.permissions\.umask-mode: 'u=rwx' isn't octal"):
        open_store("hdfs://h/x", {"MLFLOW_PYARROW_EXTRA_CONF": "fs.permissions.umask-mode=u=rwx"})


def test_a_process_is_one_user_only():
    open_store("hdfs://h/x", {})
    with pytest.raises(ConfigError, match=r"is the HDFS user '.*' already, and can't be 'somebody'"):
        open_store("hdfs://somebody@h/x", {})


@given(st.text("a:\ua789\u201b/", max_size=12), st.text("a:\ua789\u201b/", max_size=12))
def test_names_with_colons_come_back_and_stay_different(one, other):
    assert plain(kept(one)) == one
    assert ":" not in kept(one)
    assert (kept(one) == kept(other)) == (one == other)
