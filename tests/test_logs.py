"""What is logged, and what it must never cost."""

import subprocess
import sys
from pathlib import Path

import pytest

LOGS = """
import structlog
from remediator.logs import configure_logs
configure_logs("info", "{form}")
for _ in range(1_000):
    structlog.get_logger().error("the database is lost", reason="the disk is full")
print("on it goes")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, Linux's disk that is always full, is missing")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_full_disk_costs_lines_and_ends_nothing(form: str) -> None:
    with Path("/dev/full").open("wb") as full:
        program = [sys.executable, "-c", LOGS.format(form=form)]
        done = subprocess.run(program, stdout=subprocess.PIPE, stderr=full, check=False)

    assert done.stdout == b"on it goes\n"
