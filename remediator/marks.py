"""The moments at which a crash must lose nothing and do nothing twice, named where they happen.

Each raises an audit event (`sys.audit`), which costs nothing while nobody listens. `make faults` listens, and kills
the process there with -9: no hook, switch or variable of ours is in the product.
"""

import sys
from enum import StrEnum

AUDIT_EVENT = "remediator.mark"


class Mark(StrEnum):
    DELIVERY_READ = "delivery read"
    DELIVERY_FILED = "delivery filed, not committed"
    DELIVERY_COMMITTED = "delivery committed, sender not answered"
    INCIDENT_CLAIMED = "incident claimed"
    MOVE_DECIDED = "move decided"
    MOVE_WRITTEN = "move written, not committed"
    MOVE_COMMITTED = "move committed"
    INTENT_WRITTEN = "intent written, not committed"
    WRITE_BEGINS = "write to the world about to begin"
    WRITE_CONNECTED = "write to the world connected, its fence not asked"
    WRITE_DONE = "write to the world done, result not committed"
    PAGE_ORDERED = "page ordered, not committed"
    PAGE_CLAIMED = "page claimed"
    PAGE_SENT = "page sent, not recorded"
    PAGE_RECORDED = "page recorded"
    RESPONSE_WRITTEN = "a person's response written, not committed"
    RESPONSE_COMMITTED = "a person's response committed, not answered"


def reached(mark: Mark) -> None:
    sys.audit(AUDIT_EVENT, mark.value)
