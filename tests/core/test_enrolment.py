"""Rules of groups let newcomers in, and leave to a person what they do not agree on."""

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import DeviceName
from backstay.core.enrolment import Enrol, EnrolmentRule, LeaveToPerson, Newcomer, enrolment_of
from backstay.core.selectors import EVERYTHING, Selector


def rule(group: str, names: str = "cam-*", selector: Selector = EVERYTHING, **labels: str) -> EnrolmentRule:
    return EnrolmentRule(group, names, labels, selector)


def newcomer(name: str = "cam-1", **labels: str) -> Newcomer:
    return Newcomer(DeviceName(name), labels)


def test_newcomer_waits_without_a_word_when_no_rule_fits_its_name() -> None:
    assert enrolment_of(newcomer("box-1"), [rule("hall", site="hall")]) == LeaveToPerson("")


def test_newcomer_comes_in_with_the_labels_that_it_lacks() -> None:
    found = enrolment_of(newcomer(site="hall"), [rule("hall", site="hall", customer="acme")])
    assert found == Enrol(("hall",), {"customer": "acme"})


def test_newcomer_comes_in_by_every_rule_that_fits_when_they_agree() -> None:
    rules = [rule("hall", site="hall"), rule("acme", customer="acme", site="hall"), rule("box", "box-*", site="moon")]
    assert enrolment_of(newcomer(), rules) == Enrol(("acme", "hall"), {"customer": "acme", "site": "hall"})


def test_newcomer_waits_when_two_rules_contradict_each_other() -> None:
    found = enrolment_of(newcomer(), [rule("hall", site="hall"), rule("yard", site="yard")])
    assert found == LeaveToPerson("group yard would label it site=yard, but it is site=hall already")


def test_newcomer_waits_when_a_person_has_labelled_it_otherwise() -> None:
    found = enrolment_of(newcomer(site="yard"), [rule("hall", site="hall")])
    assert found == LeaveToPerson("group hall would label it site=hall, but it is site=yard already")


def test_newcomer_waits_when_the_rule_would_not_make_it_a_member() -> None:
    found = enrolment_of(newcomer(), [rule("hall", selector=Selector.labels(region="eu"), site="hall")])
    assert isinstance(found, LeaveToPerson)
    assert "would not belong to hall" in found.because


def test_pattern_covers_the_whole_name() -> None:
    assert [rule("x", "cam-[0-9]").fits(name) for name in ("cam-1", "cam-12", "xcam-1", "cam-a")] == [
        True,
        *[False] * 3,
    ]
    assert rule("x", "cam-[!0-9]?").fits("cam-ab")
    assert not rule("x", "cam-[9-0]").fits("cam-9")
    assert not rule("x", "*" * 120 + "b").fits("a" * 253)


LABELS = st.dictionaries(st.sampled_from(["site", "region", "customer"]), st.sampled_from(["a", "b"]))


@given(
    LABELS,
    st.lists(
        st.builds(rule, st.sampled_from("xyz"), st.sampled_from(["cam-*", "box-*"]))
        | st.builds(
            lambda group, labels, wanted: EnrolmentRule(group, "cam-*", labels, Selector.labels(**wanted)),
            st.sampled_from("xyz"),
            LABELS,
            LABELS,
        ),
        max_size=5,
        unique_by=lambda rule: rule.group,
    ),
    st.randoms(),
)
def test_who_comes_in_belongs_to_every_group_that_said_so_and_keeps_its_own_labels(own, rules, random) -> None:  # type: ignore[no-untyped-def]
    found = enrolment_of(newcomer(**own), rules)
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert enrolment_of(newcomer(**own), shuffled) == found
    if isinstance(found, Enrol):
        assert found.labels.keys().isdisjoint(own)
        labels = own | dict(found.labels)
        for made in rules:
            if made.group in found.groups:
                assert made.selector.matches(labels)
                assert labels.items() >= made.labels.items()
