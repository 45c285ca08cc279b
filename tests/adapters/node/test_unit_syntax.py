"""The file of a unit is read as systemd reads it, or refused."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstay.adapters.node.unit_syntax import Setting, settings
from backstay.ports.installer import CannotInstall


def test_settings_are_read_when_they_go_on_over_lines_and_have_remarks() -> None:
    text = (
        "# a remark\n[Unit]\nDescription = Sees\n\n; another\n[Service]\nExecStart=/bin/a \\\n  # not this one\n  b\n"
    )
    assert list(settings(text)) == [
        Setting("Unit", "Description", "Sees"),
        Setting("Service", "ExecStart", "/bin/a  b"),
    ]


@pytest.mark.parametrize(
    "hiding",
    [
        "After=x\\\n\nConflicts=agent.service\n",
        "After=x\\\\\nConflicts=agent.service\n",
        "After=x\\ \nConflicts=agent.service\n",
        "After=x\\\n# remark \\\n\nConflicts=agent.service\n",
    ],
    ids=["an empty line", "two backslashes", "a blank behind it", "a remark"],
)
def test_setting_is_seen_when_the_line_before_only_seems_to_go_on(hiding: str) -> None:
    assert Setting("Unit", "Conflicts", "agent.service") in list(settings(f"[Unit]\n{hiding}"))


@pytest.mark.parametrize("sign", [*"\r\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff\x7f"])
def test_unit_is_refused_when_readers_could_differ_on_where_a_line_ends(sign: str) -> None:
    with pytest.raises(CannotInstall, match=r"line 2 of the unit has the character"):
        list(settings(f"[Unit]\nDescription=a{sign}Conflicts=agent.service\n"))


@pytest.mark.parametrize("line", ["[Unit", "[Unit]x=1", "After", "=x", "Description=a\\"])
def test_line_is_refused_when_it_is_no_setting(line: str) -> None:
    with pytest.raises(CannotInstall, match="the unit's"):
        list(settings(f"[Unit]\n{line}"))


@given(st.text(alphabet="[]Unit=#;\\ \t\n\r\0\x0b\x85aC", max_size=40).map(lambda text: f"[Unit]\n{text}\n"))
@example("[Unit]\na=\\\n\nC=\n")
def test_nothing_that_systemd_would_read_is_hidden(text: str) -> None:
    try:
        found = [(one.section, one.key, one.value) for one in settings(text)]
    except CannotInstall:
        return
    assert found == list(as_systemd_reads(text))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_model_of_systemd_reads_what_the_real_one_does(tmp_path: Path) -> None:
    begins = ("", " ", "\\\n", "#", "\xa0")
    ends = (
        "",
        "\\",
        "\\\\",
        "\\ ",
        " \\",
        "\\\n",
        "\\\n#",
        "\\\n ; \\",
        "\\\n \t",
        "\r",
        "\r\\",
        "\0",
        "\v",
        "\x85",
        "\u2028",
    )
    lines = [f"{begin}K{number}=v{end}" for number, (begin, end) in enumerate(itertools.product(begins, ends))]
    text = "".join(f"[{'Unit' if at % 2 else 'Service'}]\n{line}\nZ{at}=v\n" for at, line in enumerate(lines))
    model = [(section, key) for section, key, _ in as_systemd_reads(text)]
    assert model == keys_that_systemd_reads(text, tmp_path / "vision.service")
    assert len(model) > len(lines)


def keys_that_systemd_reads(text: str, path: Path) -> list[tuple[str, str]]:
    """It complains of each key that it does not know, as all of these are."""
    path.write_text(text, encoding="utf-8", newline="")
    command = ("systemd-analyze", "verify", "--man=no", "--generators=no", "--recursive-errors=no", path)
    said = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
    return [
        (section, key) for key, section in re.findall(r"Unknown key(?: name)? '([^']*)' in section '?\[?(\w+)", said)
    ]


def as_systemd_reads(text: str) -> list[tuple[str, str, str]]:
    """What `config_parse` takes, letter by letter: a line ends at CR, LF or NUL, and an unescaped backslash goes on."""
    found, section, begun = [], "", None
    for line in text.replace("\r", "\n").replace("\0", "\n").split("\n"):
        begins = line.lstrip(" \t\n\r")
        if begins[:1] in ("#", ";"):
            continue
        whole = begins if begun is None else begun + begins
        escaped = False
        for letter in whole:
            escaped = not escaped and letter == "\\"
        if escaped:
            begun = whole[:-1] + " "
            continue
        begun, taken = None, whole.strip(" \t\n\r")
        if taken.startswith("["):
            section = taken[1:-1]
        elif "=" in taken:
            key, _, value = taken.partition("=")
            found.append((section, key.strip(" \t\n\r"), value.strip(" \t\n\r")))
    return found
