"""The local store on NFS, between real kernels: two client machines, one server, versions 4.2 and 3.

The contract's own tests run on a client, with its Python; what is asked of several machines runs on both.
"""

from __future__ import annotations

import json
import re
import sys

import pytest
from tests.servers import nfs

pytestmark = pytest.mark.timeout(300)

VERSIONS = ("4.2", "3")

CHOSEN = {
    "4.2": ("local-bare", ("writing", "uploads", "deleting"), ("races", "full")),
    "3": ("local-standard", ("writing", "reading", "listing"), ("crash",)),
}
"""Which tests run on which version, the contract's and others; all would take such a client minutes."""

SLOW = "batch or body_left or many_read or EIO"
"""Thousands of small files take long, and an I/O error of a file server is another one than a disk's."""

SHARED = {"4.2": "changes_nothing and old", "3": "changes_nothing and new"}
"""What each version leaves to the other: writes that fail over an old object, and where there is none."""


@pytest.fixture(scope="module")
def network():
    """A server, and two clients of it."""
    with nfs.running() as network:
        yield network


@pytest.fixture(scope="module")
def machines(network):
    """The clients."""
    return network.clients


@pytest.fixture(scope="module")
def suites(machines):
    """The contract's tests, one version on each machine, at the same time."""
    return {
        version: _start_suite(machine, version) for machine, version in zip(machines, VERSIONS, strict=True)
    }


def _start_suite(machine, version):
    base = f"{machine.mount(version)}/suite-{version}"
    store, promises, others = CHOSEN[version]
    files = [f"tests/conformance/test_{name}.py" for name in promises]
    files += [f"tests/stores/test_local_{name}.py" for name in others]
    return machine, machine.start(
        sys.executable, "-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout",
        "-p", "no:cacheprovider", f"--basetemp={base}", "-k", f"not ({SLOW} or {SHARED[version]})", *files,
        env={
            "SHOSO_TEST_STORE": store,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHOSO_TEST_SYNC": "1",
            "SHOSO_TEST_SMALL_DISK": machine.mounting(version, export="small"),
        },
    )  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_the_contract_holds_over_nfs(suites, version):
    machine, job = suites[version]
    done = machine.result(job, 280)
    assert done.code == 0, done.output
    [passed] = re.findall(r"(\d+) passed", done.output)
    assert int(passed) > 80


def _do(machine, verb, folder, *args, seconds=90, **env):
    return _said(machine, _begin(machine, verb, folder, *args, **env), seconds)


def _begin(machine, verb, folder, *args, **env):
    return machine.start(
        sys.executable, "-m", "tests.stores.nfs_client", verb, folder, *map(str, args),
        env={"PYTHONDONTWRITEBYTECODE": "1", **env},
    )  # fmt: skip


def _said(machine, job, seconds=90):
    done = machine.result(job, seconds)
    assert done.code == 0, done.output
    return json.loads(done.output.splitlines()[-1])


def _both(machines, version, name):
    """A folder of that name as the two machines see it."""
    folders = [f"{machine.mount(version)}/{name}-{version}" for machine in machines]
    machines[0].run("mkdir", "-p", folders[0])
    return folders


@pytest.mark.parametrize("version", VERSIONS)
def test_of_two_machines_that_create_one_wins(machines, version):
    folders = _both(machines, version, "create")
    jobs = [
        _begin(machine, "create", folder, name, 30)
        for machine, folder, name in zip(machines, folders, "ab", strict=True)
    ]
    first, second = (_said(machine, job) for machine, job in zip(machines, jobs, strict=True))
    assert sorted(first + second) == list(range(30))


def test_an_etag_guards_an_object_between_machines(machines):
    folders = _both(machines, "4.2", "increment")
    machines[0].run("sh", "-c", f"mkdir {folders[0]}/run && printf 0 >{folders[0]}/run/object")
    jobs = [
        _begin(machine, "increment", folder, 15) for machine, folder in zip(machines, folders, strict=True)
    ]
    for machine, job in zip(machines, jobs, strict=True):
        assert set(_said(machine, job)) <= {"changed"}
    assert machines[1].run("cat", f"{folders[1]}/run/object").output == "30"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_object_is_seen_at_once_by_a_machine_that_looked_for_it_before(machines, version):
    folders = _both(machines, version, "new")
    names = ("a", "b")
    waiting = _begin(machines[1], "wait_for", folders[1], *names)
    _do(machines[0], "write_new", folders[0], *names)
    assert max(_said(machines[1], waiting)) < 2.5


def test_by_nfs_3_a_name_is_given_in_a_tick_of_its_own(machines):
    """Else, one in fifty stayed unseen by who looked in the tick in which it was named."""
    assert _do(machines[0], "apart", _both(machines, "3", "apart")[0]) == [True, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_another_machine_sees_one_version_or_another_but_never_none(machines, version):
    folders = _both(machines, version, "replace")
    looking = _begin(machines[1], "look", folders[1], 5)
    assert _do(machines[0], "replace", folders[0], 6) > 10
    seen = _said(machines[1], looking)
    assert set(seen) == {"whole"}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_deleted_while_it_is_read_is_neither_listed_nor_lost(machines, version):
    """An NFS client keeps such a file under another name until it is closed."""
    found = _do(machines[0], "delete_open", _both(machines, version, "open")[0])
    assert [name[:4] for name in found.pop("left")] == [".nfs"]
    # Without locks between machines, no write can depend on an etag, and NFS 3 carries no attributes.
    assert found.pop("can") == [True, version == "4.2", "all" if version == "4.2" else "none"]
    assert found == {"listed": [], "hidden": True, "whole": True}


def test_a_folder_that_root_may_not_write_says_what_to_do(machines):
    kind, *messages = _do(machines[0], "denied", machines[0].mount("4.2", export="squashed"))
    assert kind == "forbidden"
    assert len(messages) == 2
    for message in messages:
        assert "root_squash" in message
        assert "user who owns the folder" in message


@pytest.fixture
def quiet(suites):
    """No suite is under way, which would stand still as well."""
    for machine, job in suites.values():
        machine.result(job, 280)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("version", "options", "silence", "kind"),
    [("4.2", (), 1, "timeout"), ("3", ("soft", "timeo=5", "retrans=1"), 60, "unavailable")],
    ids=["hard", "soft"],
)
def test_while_the_server_is_gone_calls_fail_and_the_process_can_end(
    network, version, options, silence, kind
):
    machine = network.clients[0]
    folder = f"{machine.mount(version, *options)}/gone-{version}"
    signals = machine.exchange(f"gone-{version}-{silence}")
    job = _begin(machine, "without_server", folder, signals.inside, silence)
    signals.wait_for("ready")
    with network.server_gone():
        signals.give("gone")
        said = _said(machine, job)
    assert said["errors"] == [kind, kind]
    assert machine.run("cat", f"{folder}/run/object").output in {"old", "new"}
    _do(machine, "write", folder)
