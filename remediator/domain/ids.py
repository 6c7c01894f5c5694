"""Identifiers that could be mistaken for any other string or number."""

from typing import NewType

SourceName = NewType("SourceName", str)
"""Which sender: `alertmanager`, `grafana`, or the name an intake token carries."""
Fingerprint = NewType("Fingerprint", str)
"""The sender's hash of the label set. Unique within a source only."""
AlertKey = tuple[SourceName, Fingerprint]
"""Which alert it is, whenever it is told."""
EpisodeId = NewType("EpisodeId", int)
IncidentId = NewType("IncidentId", int)
IntentId = NewType("IntentId", str)
"""A UUID; it is written onto what the intent changes, so that the change can be recognised."""
RuleName = NewType("RuleName", str)
RuleVersion = NewType("RuleVersion", str)
"""SHA-256 (hex, 16 characters) of the rule as written."""
StepPath = NewType("StepPath", str)
"""A place in a rule as people write it: `fix[1]`, `diagnose.pods`, `verify.checks[0]`."""
