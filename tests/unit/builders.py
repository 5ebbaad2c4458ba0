"""Small values that several test modules build on."""

from schemas.changes import Change
from schemas.segments import Publication, Segment, UserSegments

DAY = 86_400_000
START = 1_770_000_000_000


def change(user_id="u1", version=1, kind="enter", segment="fuel_type=electric"):
    return Change(
        user_id=user_id,
        segment=segment,
        change=kind,
        at=START + version,
        score=0.625,
        matching=5,
        views=8,
        ruleset_version=1,
        version=version,
    )


def segment(name="fuel_type=electric", valid_until=START + 10 * DAY):
    return Segment(
        segment=name, score=0.625, since=START, valid_until=valid_until, matching=5, views=8
    )


def user_segments(user_id="u1", version=1, segments=None):
    return UserSegments(
        user_id=user_id,
        version=version,
        ruleset_version=1,
        as_of=START + version,
        segments=(segment(),) if segments is None else tuple(segments),
    )


def publication(user_id="u1", version=1, segments=None, changes=None):
    """One user's set, by default with the one change that made it."""
    if changes is None:
        changes = (change(user_id, version),)
    return Publication(user_segments(user_id, version, segments), tuple(changes))
