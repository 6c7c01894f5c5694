"""Real programs that Debian packages. Where one is missing the test is skipped with its name, or failed where
TESTS_REQUIRE_ALL=1."""

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str) -> str:
    """Where it is; daemons are not on everybody's PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    return found or refuse(f"no {name} on this machine: install Debian's package of that name")


def refuse(reason: str) -> NoReturn:
    if os.environ.get("TESTS_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
