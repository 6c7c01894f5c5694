"""The folder of rules while somebody edits it: a link to one edition after the other, as in a ConfigMap."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.evidence import Edition
from tests.faults.rules import MISSED, RULES, write_fault_rules
from tests.faults.scenario import Edit, Edited, Trouble


@dataclass
class RuleFiles:
    folder: Path
    sink: str
    timeout: str
    editions: list[Edition] = field(default_factory=list)

    @property
    def latest(self) -> int:
        return self.editions[-1].number

    @property
    def published_at(self) -> datetime:
        return self.editions[-1].at

    def publish(self, edit: Edit = Edit.REWORDED) -> Path:
        """Where the rules are, from now on in another edition."""
        number = len(self.editions)
        folder = self.folder / f"edition-{number}"
        ruled = [trouble for trouble in Trouble if edit is not Edit.RULE_GONE or trouble is not MISSED]
        written = write_fault_rules(folder, sink=self.sink, timeout=self.timeout, edition=number, troubles=ruled)
        _spoil(written / f"{RULES}.yaml", edit)
        lacks = MISSED.lower() if edit in {Edit.RULE_GONE, Edit.ONE_RULE_WRONG} else ""
        is_sound = edit in {Edit.REWORDED, Edit.RULE_GONE}
        self.editions.append(Edition(number, datetime.now(UTC), is_sound=is_sound, lacks=lacks))
        following = self.folder / "following"
        following.symlink_to(self.folder / "nowhere" if edit is Edit.GONE else written)
        return following.replace(self.folder / "rules")

    async def edit(self, edits: Sequence[Edited], *, tell: Callable[[], None]) -> None:
        for edited in edits:
            await asyncio.sleep(edited.after)
            self._publish(edited, edited.edit, tell)
            if edited.edit is not Edit.REWORDED:
                await asyncio.sleep(edited.lasts)
                self._publish(edited, Edit.REWORDED, tell)

    def were_missing(self, since: datetime) -> bool:
        """Whether whoever began since then may have found no rule that can be read."""
        following = [edition.at for edition in self.editions[1:]] + [datetime.now(UTC)]
        return any(
            until >= since and not edition.is_sound for edition, until in zip(self.editions, following, strict=True)
        )

    def _publish(self, edited: Edited, edit: Edit, tell: Callable[[], None]) -> None:
        self.publish(edit)
        if edited.is_told:
            tell()


def _spoil(rules: Path, edit: Edit) -> None:
    match edit:
        case Edit.NOT_YAML:
            rules.write_text(rules.read_text().replace("match: [", "match: [[", 1))
        case Edit.ONE_RULE_WRONG:
            rules.write_text(rules.read_text().replace("summary:", "sumary:", 1))
        case Edit.EMPTY:
            rules.write_text("")
        case Edit.REWORDED | Edit.RULE_GONE | Edit.GONE:
            pass
