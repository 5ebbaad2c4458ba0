"""Which rule set may follow those that are published."""

import msgspec
import pytest

from jobs.publish_rules import (
    Published,
    RuleSetRefusedError,
    check_follows,
    is_published,
)
from schemas.rulesets import CategoryAttribute, RuleSet, ShareRule

pytestmark = pytest.mark.unit

FIRST = RuleSet(
    version=3,
    window="10d",
    pane="1h",
    attributes={"fuel": CategoryAttribute()},
    rules=(ShareRule("fuel", "fuel", ("view",), enter=0.5, leave=0.4, min_views=3),),
)


def changed(**fields):
    return msgspec.structs.replace(FIRST, **fields)


def on_topic(*rulesets):
    return [Published(offset, one.version, one) for offset, one in enumerate(rulesets)]


def test_the_first_rule_set_may_have_any_version():
    check_follows(FIRST, [])


def test_a_higher_version_follows():
    check_follows(changed(version=9), on_topic(FIRST))


def test_the_same_version_is_there_already_or_refused():
    published = on_topic(FIRST, changed(version=5))
    assert is_published(FIRST, published)
    other = changed(attributes={"fuel": CategoryAttribute({"ev": "electric"})})
    assert not is_published(other, published)
    with pytest.raises(RuleSetRefusedError, match="version 3 is on rulesets already, with other"):
        check_follows(other, published)


def test_a_version_below_the_highest_is_refused_with_the_next_free_one():
    with pytest.raises(RuleSetRefusedError, match=r"4 is not above 5.* give this one version 6"):
        check_follows(changed(version=4), on_topic(FIRST, changed(version=5)))


@pytest.mark.parametrize("fields", [{"window": "20d"}, {"pane": "30m"}])
def test_another_window_or_pane_is_refused(fields):
    with pytest.raises(RuleSetRefusedError, match="another window needs a new job"):
        check_follows(changed(version=4, **fields), on_topic(FIRST))


def test_a_window_written_otherwise_is_the_same():
    check_follows(changed(version=4, window="240h", pane="60m"), on_topic(FIRST))


def test_what_cannot_be_read_still_has_its_version():
    published = [*on_topic(FIRST), Published(1, 7, None, "not JSON")]
    with pytest.raises(RuleSetRefusedError, match="version 8"):
        check_follows(changed(version=6), published)
    with pytest.raises(RuleSetRefusedError, match="another window"):
        check_follows(changed(version=8, window="20d"), published)
