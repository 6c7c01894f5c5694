"""Whether the alert that opened the incident has stopped."""

from remediator.checks import Check, Sign
from remediator.domain.incident import Incident
from remediator.toolbox import Toolbox


class AlertResolved(Check):
    """Every alert of the incident has resolved, by a recovery and not by vanishing."""

    async def passes(self, incident: Incident, tools: Toolbox) -> Sign:
        if incident.firing:
            return Sign(healthy=False, detail=f"{incident.alert.name} still fires")
        if not incident.recovered:
            return Sign(healthy=False, detail=f"{incident.alert.name} went away without a recovery")
        return Sign(healthy=True, detail=f"{incident.alert.name} has resolved")
