import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.bridge.ranges import Part, Unsatisfiable, part_of

ETAG = '"sha256:abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", Part(0, 9, 100)),
        ("bytes=90-", Part(90, 99, 100)),
        ("bytes=90-500", Part(90, 99, 100)),
        ("bytes=-10", Part(90, 99, 100)),
        ("bytes=-500", Part(0, 99, 100)),
        ("bytes=99-99", Part(99, 99, 100)),
        ("bytes=100-", Unsatisfiable(100)),
        ("bytes=100-200", Unsatisfiable(100)),
        ("bytes=-0", Unsatisfiable(100)),
        ("bytes=9-0", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-9", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        (None, None),
    ],
)
def test_part_of_a_file_is_as_rfc_9110_says_when_a_range_is_asked(header, expected):
    assert part_of(100, ETAG, header, None) == expected


@pytest.mark.parametrize("if_range", ['"sha256:other"', 'W/"sha256:abc"', "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_whole_file_is_sent_when_if_range_names_other_content(if_range):
    assert part_of(100, ETAG, "bytes=0-9", if_range) is None
    assert part_of(100, ETAG, "bytes=0-9", ETAG) == Part(0, 9, 100)


@given(st.integers(0, 5000), st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,5}-[0-9]{0,5}", fullmatch=True))
def test_part_lies_inside_the_file_when_the_header_is_anything(size, header):
    found = part_of(size, ETAG, header, None)
    assert found is None or isinstance(found, Unsatisfiable) or 0 <= found.first <= found.last < size
