"""One message for thousands of the same kind."""

from __future__ import annotations

from smotracker_ros.core.notices import MOST_KINDS, Notices, Trouble


def test_each_kind_is_said_once() -> None:
    said: list[str] = []
    notices = Notices(said.append)
    for number in range(18_000):
        notices.warn(f"step is {number} bytes, {number / 7} expected", f"at {number}: ")
        notices.warn("another reason")
    assert said == ["at 0: step is 0 bytes, 0.0 expected", "another reason"]
    assert notices.silent == 35_998


def test_texts_that_never_repeat_do_not_fill_the_log() -> None:
    said: list[str] = []
    notices = Notices(said.append)
    for number in range(1000):
        notices.warn("x" * number)
    assert len(said) == MOST_KINDS + 1
    assert said[-1] == "there are warnings of more kinds"
    assert notices.silent == 1000 - len(said)


def test_trouble_is_said_when_it_begins_changes_and_ends() -> None:
    said: list[str] = []
    trouble = Trouble(said.append, said.append, "all is well again")
    for text in (None, "old by 1 s", "old by 2 s", "missing", "missing", None, None, "old by 7 s"):
        trouble.tell(text)
    assert said == ["old by 1 s", "missing", "all is well again", "old by 7 s"]
