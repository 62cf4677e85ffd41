"""What every test has: MLflow's client as it is without Shoso, unless a test says otherwise."""

import gc
import os
import re
import shutil
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest

os.environ["SHOSO_MLFLOW_PLUGIN"] = "off"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that a test starts compiles all of Shoso

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in its background,
    signal.signal(signal.SIGINT, signal.default_int_handler)  # and what tests start would inherit it

with suppress(ImportError):  # the interpreter of MLflow 2.22 has none
    from xdist.scheduler import LoadFileScheduling
    from xdist.workermanage import NodeManager

    NodeManager.EXIT_TIMEOUT = 60  # workers stop servers as they end, and were killed after 10 s

    class ByStorage(LoadFileScheduling):
        """A file's tests go to one worker, those of the contract by storage: its servers start once."""

        def _split_scope(self, nodeid):
            storage = CONTRACT.match(nodeid)
            return storage[1] if storage else super()._split_scope(nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(config, log):
        return ByStorage(config, log) if config.getvalue("dist") == "loadfile" else None


with suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("busy", settings(), deadline=None)  # a busy machine is no failure
    settings.load_profile("busy")

CONTRACT = re.compile(r"tests/conformance/.*\[(?:remote-)?(\w+)")

LONG = {
    *("test_databases.py", "test_dropin.py", "test_fleet.py", "test_memory.py", "test_old_client.py"),
    *("test_hdfs_errors.py", "test_hdfs_failover.py", "test_hdfs_faults.py", "test_hdfs_kerberos.py"),
    *("test_faults.py", "test_fsck.py", "test_import.py", "test_import_databases.py", "test_killed.py"),
    *("test_kills_fsck.py", "test_kills_gc.py", "test_kills_migrate.py", "test_migrate.py", "test_nfs.py"),
    *("test_outbox.py", "test_outbox_aside.py", "test_process.py", "test_s3_faults.py", "test_sequences.py"),
    *("test_sftp_faults.py", "test_storages.py"),
}
"""Few tests that take long, as those marked `large`: begun last, they would leave a core alone."""


def pytest_configure(config):
    config.addinivalue_line("markers", "large: minutes, or gigabytes on disk; leave out with -m 'not large'")


def pytest_collection_modifyitems(config, items):
    """For the workers of pytest-xdist: the files that take longest first."""
    if hasattr(config, "workerinput"):
        count = Counter(item.path for item in items)
        long = {item.path for item in items if item.path.name in LONG or item.get_closest_marker("large")}
        items.sort(key=lambda item: (item.path not in long, -count[item.path]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    """Without garbage collection: pytest parses the source, and what is collected may log a traceback.

    That parses too, and Python 3.11.7 and before raise SystemError for one in the other (cpython#106905).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


MEMORY, PLENTY = Path("/dev/shm"), 6 << 30


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory):
    """Makes folders for servers: in memory where there is plenty, for no test cuts the power.

    There, a server that syncs each of thousands of writes waits for no disk.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < PLENTY:
        yield lambda: tmp_path_factory.mktemp("server")
        return
    with TemporaryDirectory(prefix="shoso-servers-", dir=MEMORY) as folder:
        yield lambda: Path(mkdtemp(dir=folder))
