"""What every test has: MLflow's client as it is without Shoso, unless a test says otherwise."""

import os
import signal
from contextlib import suppress

os.environ["SHOSO_MLFLOW_PLUGIN"] = "off"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in its background,
    signal.signal(signal.SIGINT, signal.default_int_handler)  # and what tests start would inherit it

with suppress(ImportError):  # the interpreter of MLflow 2.22 has none
    from hypothesis import settings

    settings.register_profile("busy", settings(), deadline=None)  # a busy machine is no failure
    settings.load_profile("busy")


def pytest_configure(config):
    config.addinivalue_line("markers", "large: minutes, or gigabytes on disk; leave out with -m 'not large'")
