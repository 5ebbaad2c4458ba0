"""Why a user is, or is not, in a segment: from what was published, nothing recomputed."""

import msgspec

from schemas.changes import Change
from schemas.durations import iso_time
from schemas.rulesets import ShareRule, parse_ruleset
from schemas.segments import Segment
from serving.lookup.store import SegmentReader

CHANGES_SHOWN = 5


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The published numbers behind one membership.

    `matching`, `views` and `score` are those of the stored set while the user is in the segment,
    else those of the last change; None where neither has any.
    """

    user_id: str
    segment: str
    member: bool
    as_of: int
    score: float | None
    matching: int | None
    views: int | None
    since: int | None
    valid_until: int | None
    ruleset_version: int | None
    rule: ShareRule | None
    window: str | None
    changes: tuple[Change, ...]

    def lines(self) -> list[str]:
        """The explanation as people read it."""
        head = f"{self.user_id} is {'' if self.member else 'not '}in {self.segment}"
        lines = [f"{head} as of {iso_time(self.as_of)}"]
        if self.score is not None:
            kinds = "/".join(self.rule.event_types) if self.rule else "counted"
            value = self.segment.partition("=")[2]
            which = "the published set" if self.member else "the last change"
            lines.append(
                f"  score {self.score:.3f} = {self.matching} of {self.views} {kinds} events"
                f" with {value} in the window of {self.window or '?'}, by {which}"
            )
        else:
            lines.append("  nothing was ever published about this user and segment")
        if self.rule is not None:
            lines.append(
                f"  rule {self.rule.id} of rule set version {self.ruleset_version}: enter at share"
                f" >= {self.rule.enter} with >= {self.rule.min_views} events,"
                f" leave at share < {self.rule.leave} or with fewer"
            )
        if self.member and self.since is not None and self.valid_until is not None:
            lines.append(
                f"  since {iso_time(self.since)}, until {iso_time(self.valid_until)}"
                " with no further event"
            )
        lines += [
            f"  {iso_time(c.at)} {c.change} at {c.score:.3f} ({c.matching}/{c.views}), change"
            f" {c.version} by rule set version {c.ruleset_version}"
            for c in self.changes
        ]
        return lines


async def explain(reader: SegmentReader, user_id: str, segment: str) -> Explanation:
    """Gather what the store has on one user and segment.

    Raises:
        StoreError: the store cannot answer.
    """
    current = await reader.read(user_id)
    as_of = (await reader.progress()).as_of
    changes = [c for c in await reader.changes(user_id) if c.segment == segment]
    held = current.segments if current else ()
    now = next((s for s in held if s.segment == segment and s.valid_until > as_of), None)
    numbers: Segment | Change | None = now or (changes[-1] if changes else None)
    version = current.ruleset_version if current else None
    document = None if version is None else await reader.ruleset(version)
    ruleset = None if document is None else parse_ruleset(document)
    name = segment.partition("=")[0]
    return Explanation(
        user_id=user_id,
        segment=segment,
        member=now is not None,
        as_of=as_of,
        score=None if numbers is None else numbers.score,
        matching=None if numbers is None else numbers.matching,
        views=None if numbers is None else numbers.views,
        since=None if now is None else now.since,
        valid_until=None if now is None else now.valid_until,
        ruleset_version=version,
        rule=next((r for r in ruleset.rules if r.id == name), None) if ruleset else None,
        window=ruleset.window if ruleset else None,
        changes=tuple(changes[-CHANGES_SHOWN:]),
    )
