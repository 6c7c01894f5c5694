"""Remediator: turns an operations runbook into safe, proven action."""

__version__ = "0.1.0"
