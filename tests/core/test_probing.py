"""How one probe's measurements become a verdict on the change."""

from datetime import timedelta

import pytest

from backstay.core import probing
from backstay.core.device import Probe, ProbeResult
from backstay.core.probing import (
    Measurement,
    OldFault,
    ProbeRule,
    Standing,
    Trial,
    begin,
    measured,
    old_faults,
    rule_of,
)

SOON = timedelta(seconds=1)
PASS = Measurement("disk", passed=True, detail="700 MiB free")
LOW = Measurement("disk", passed=False, detail="300 MiB free, 512 MiB wanted", fault="BelowMinimum", shortfall=0.4)
GONE = Measurement("disk", passed=False, detail="no such folder", fault="NotThere")
BEFORE = OldFault("BelowMinimum", times=3, shortfall=0.4)


def tried(*found: Measurement, rule: ProbeRule | None = None, old: OldFault | None = None) -> Trial:
    trial = Trial(rule or ProbeRule("disk"), old)
    for one in found:
        trial = measured(trial, one, SOON)
    return trial


def test_probe_passes_when_enough_passes_come_in_a_row() -> None:
    thrice = ProbeRule("disk", consecutive=3)
    assert tried(PASS, PASS, rule=thrice).standing is Standing.PENDING
    assert tried(PASS, PASS, LOW, PASS, PASS, rule=thrice).standing is Standing.PENDING
    assert tried(PASS, PASS, PASS, rule=thrice).standing is Standing.PASSED


def test_probe_fails_again_when_it_had_passed() -> None:
    assert tried(PASS, LOW).standing is Standing.FAILING


def test_probe_is_late_when_its_own_time_is_over() -> None:
    trial = Trial(ProbeRule("disk", within=timedelta(seconds=90)))
    late = measured(trial, PASS, timedelta(seconds=90))
    assert late.standing is Standing.LATE
    assert probing.told(late) == "did not pass within 90 s of the change; 700 MiB free"
    assert measured(late, PASS, timedelta(seconds=91)).standing is Standing.LATE


def test_probe_stays_passed_when_its_time_is_over_and_it_goes_on_passing() -> None:
    within = ProbeRule("disk", within=timedelta(seconds=90))
    passed = tried(PASS, rule=within)
    assert measured(passed, PASS, timedelta(seconds=100)).standing is Standing.PASSED
    assert measured(passed, LOW, timedelta(seconds=100)).standing is Standing.LATE


def test_fault_from_before_excuses_when_it_has_shown_as_often_as_before() -> None:
    assert tried(LOW, LOW, old=BEFORE).standing is Standing.FAILING
    excused = tried(LOW, LOW, LOW, old=BEFORE)
    assert excused.standing is Standing.EXCUSED
    assert excused.holds
    assert excused.fails
    assert probing.told(excused).startswith("baseline: failed in the same way before the change; 300 MiB free")


def test_fault_from_before_excuses_nothing_else() -> None:
    assert tried(LOW, LOW, LOW, GONE, old=BEFORE).standing is Standing.FAILING
    assert tried(GONE, GONE, GONE, old=BEFORE).standing is Standing.FAILING


def test_fault_from_before_excuses_no_worse_one() -> None:
    worse = Measurement("disk", passed=False, fault="BelowMinimum", shortfall=0.6)
    assert tried(worse, worse, worse, old=BEFORE).standing is Standing.FAILING


def test_excuse_stays_when_the_probe_passes_now_and_then() -> None:
    assert tried(LOW, LOW, LOW, PASS, rule=ProbeRule("disk", consecutive=3), old=BEFORE).standing is Standing.EXCUSED
    assert tried(LOW, LOW, LOW, PASS, old=BEFORE).standing is Standing.PASSED


def test_old_fault_is_one_only_when_every_measurement_failed_alike() -> None:
    assert old_faults([LOW, LOW, LOW]) == {"disk": BEFORE}
    assert old_faults([LOW, LOW]) == {}
    assert old_faults([LOW, PASS, LOW, LOW]) == {}
    assert old_faults([LOW, GONE, LOW]) == {}
    assert old_faults([PASS, PASS, PASS]) == {}


def test_old_fault_is_forgotten_when_the_kind_is_never_excused() -> None:
    (trial,) = begin([ProbeRule("disk", excusable=False)], {"disk": BEFORE})
    assert trial.old is None


def test_change_is_not_proven_by_excuses_alone() -> None:
    excused = tried(LOW, LOW, LOW, old=BEFORE)
    assert not probing.proven([excused])
    assert probing.proven([excused, tried(PASS, rule=ProbeRule("agent"))])


def test_advisory_probe_is_reported_and_blocks_nothing() -> None:
    advisory = tried(LOW, rule=ProbeRule("disk", required=False))
    trials = (advisory, tried(PASS, rule=ProbeRule("agent")))
    assert probing.proven(trials)
    assert probing.failing(trials) == ("disk",)
    assert [result.name for result in probing.results(trials)] == ["agent"]
    assert [(result.name, result.passed) for result in probing.advice(trials)] == [("disk", False)]


def test_change_is_not_proven_by_advisory_probes_alone() -> None:
    assert not probing.proven([tried(PASS, rule=ProbeRule("disk", required=False))])


def test_machine_is_told_how_far_a_probe_has_come() -> None:
    trial = tried(PASS, rule=ProbeRule("disk", consecutive=3))
    assert probing.results([trial]) == (ProbeResult("disk", False, "1 of 3 passes in a row; 700 MiB free"),)
    assert probing.results([Trial(ProbeRule("disk"))]) == ()
    assert probing.told(Trial(ProbeRule("disk"))) == "was not run yet"


def test_rule_is_read_from_the_settings_of_a_probe() -> None:
    settings = (("advisory", "True"), ("consecutive", "3"))
    rule = rule_of(Probe("disk", "DiskHeadroom", settings, SOON), excusable=True)
    assert rule == ProbeRule("disk", required=False, consecutive=3, within=SOON)
    assert rule_of(Probe("disk", "DiskHeadroom"), excusable=False) == ProbeRule("disk", excusable=False)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("advisory", "perhaps", "advisory is 'perhaps', not true or false"),
        ("consecutive", "0", "consecutive is 0, not between 1 and 20"),
        ("consecutive", "three", "consecutive is 'three', not a number of passes"),
        ("consecutive", "99", "consecutive is 99, not between 1 and 20"),
    ],
)
def test_rule_is_refused_by_name_when_a_setting_is_wrong(setting: str, value: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rule_of(Probe("disk", "DiskHeadroom", ((setting, value),)), excusable=True)


def test_table_of_the_docstring_is_the_machine() -> None:
    text = probing.__doc__ or ""
    rows = [line.strip().split("  ") for line in text.splitlines() if line.startswith("    ")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    for standing, row in probing.TRANSITIONS.items():
        if row:
            drawn = cells[standing.value]
            assert [row[one].value if one in row else "·" for one in probing.Stimulus] == drawn, standing
