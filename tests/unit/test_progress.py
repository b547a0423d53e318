"""From what an instance says to what is shown: bounds hold whatever it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import server as demo_server
from manager.launcher import guard
from manager.progress import LONGEST_SAID, NOTHING, SILENT_AFTER, Course, NotSaid, Said, parse
from manager.records import PROGRESS_PATH

WORK = Said(
    prompt_id="p1",
    task=4,
    seconds=2.0,
    node="3",
    class_type="KSampler",
    title="My sampler",
    value=5,
    most=20,
    finished=2,
    nodes=4,
)


def said(**changes: Any) -> Said:
    return Said(**{**WORK.__dict__, **changes})


def course(*answers: Said) -> Course:
    made = Course("launch", 0.0)
    for second, answer in enumerate(answers, 1):
        made.take(answer, float(second))
    return made


def test_the_manager_the_guard_and_the_demo_mean_the_same_place() -> None:
    assert guard.PROGRESS_PATH == demo_server.PROGRESS_PATH == PROGRESS_PATH


def test_what_is_said_is_what_is_shown() -> None:
    progress = course(WORK).progress(3.0)
    assert progress is not None
    assert (progress.class_type, progress.title) == ("KSampler", "My sampler")
    assert (progress.step, progress.steps) == (5, 20)
    assert (progress.finished, progress.nodes, progress.percent) == (2, 4, 56)
    assert (progress.prompt, progress.told, progress.launch_id) == (1, True, "launch")
    # It was said two seconds ago.
    assert progress.seconds == 4.0


def test_a_node_that_does_not_count_has_no_steps() -> None:
    progress = course(said(value=0, most=1)).progress(1.0)
    assert progress is not None
    assert (progress.step, progress.steps, progress.percent) == (0, 0, 50)


def test_prompts_are_counted_from_the_first_of_this_work() -> None:
    made = course(WORK, NOTHING, said(prompt_id="p2", task=7, finished=0))
    progress = made.progress(3.0)
    assert progress is not None
    # Two between were over before anybody had asked.
    assert (progress.prompt, progress.percent) == (4, 6)
    # ComfyUI began anew by itself, and counts anew.
    made.take(said(prompt_id="p3", task=0), 4.0)
    progress = made.progress(4.0)
    assert progress is not None
    assert progress.prompt == 1


def test_between_two_prompts_nothing_flickers() -> None:
    made = course(WORK)
    assert not made.take(NOTHING, 2.0)
    assert made.progress(2.0) is not None
    assert course(NOTHING).progress(1.0) is None


def test_only_what_is_new_is_news_and_progress() -> None:
    made = course(WORK)
    assert not made.take(said(seconds=9.0), 100.0)
    progress = made.progress(100.0)
    assert progress is not None
    assert progress.progressed_at == 1.0
    assert made.take(said(value=6), 101.0)
    progress = made.progress(102.0)
    assert progress is not None
    assert progress.progressed_at == 101.0


def test_a_node_that_counts_twice_moves_nothing_back() -> None:
    made = course(WORK, said(value=20), said(value=1))
    progress = made.progress(3.0)
    assert progress is not None
    assert (progress.percent, progress.step) == (75, 1)


def test_it_is_not_over_before_it_is_over() -> None:
    progress = course(said(finished=4, value=20)).progress(1.0)
    assert progress is not None
    assert progress.percent == 99


def test_who_falls_silent_is_shown_no_longer() -> None:
    made = course(WORK)
    news = [made.miss() for _ in range(SILENT_AFTER + 1)]
    assert news == [False, False, True, False]
    assert made.progress(2.0) is None
    made.take(WORK, 3.0)
    assert made.progress(3.0) is not None


def test_one_that_cannot_tell_is_shown_as_such() -> None:
    progress = course(Said(unknown="AttributeError: x")).progress(1.0)
    assert progress is not None
    assert not progress.told


@pytest.mark.parametrize(
    "content",
    [
        [],
        "x",
        None,
        7,
        {"prompt_id": 3},
        {"prompt_id": ""},
        {"prompt_id": "\u0000\n"},
        {"prompt_id": "p", "task": "1"},
        {"prompt_id": "p", "task": True},
        {"prompt_id": "p", "nodes": 10**400},
        {"prompt_id": "p", "max": float("nan")},
        {"prompt_id": "p", "value": float("inf")},
        {"prompt_id": "p", "title": {"a": 1}},
        {"unknown": 3},
    ],
)
def test_what_says_nothing_is_refused(content: object) -> None:
    with pytest.raises(NotSaid):
        parse(json.dumps(content).encode())


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"[" * LONGEST_SAID, b"9" * 5000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotSaid):
        parse(body)


def test_names_are_cut_and_carry_nothing_invisible() -> None:
    found = parse(json.dumps({"prompt_id": "p", "title": "a\u202e\nb" + "x" * 500}).encode())
    assert found.title.startswith("abx")
    assert len(found.title) <= 100
    assert parse(b"{}") == NOTHING


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(-(10**30), 10**30) | st.floats() | st.integers(0, 30)
FIELDS = {
    "prompt_id": st.sampled_from(["p1", "p2", ""]) | JSON,
    "task": NUMBERS,
    "seconds": NUMBERS,
    "node": st.sampled_from(["1", "2"]) | JSON,
    "class_type": st.text(),
    "title": st.text(),
    "value": NUMBERS,
    "max": NUMBERS,
    "finished": NUMBERS,
    "nodes": NUMBERS,
    "unknown": st.just("") | JSON,
}
ANSWERS = st.fixed_dictionaries({}, optional=FIELDS) | JSON


@given(st.lists(ANSWERS | st.none(), max_size=30))
def test_no_order_of_answers_breaks_it_or_shows_nonsense(answers: list[object]) -> None:
    made, now = Course("launch", 0.0), 0.0
    before = ("", 0)
    for answer in answers:
        now += 1.0
        try:
            made.take(parse(json.dumps(answer).encode()), now)
        except NotSaid:
            made.miss()
        progress = made.progress(now)
        if progress is None:
            continue
        assert 0 <= progress.percent < 100
        assert 0 <= progress.step <= progress.steps or progress.steps == 0
        assert 0 <= progress.finished <= progress.nodes
        assert progress.prompt >= 1
        assert progress.seconds >= 0
        assert progress.progressed_at <= now
        said_of = made._said
        assert said_of is not None
        if before[0] == said_of.prompt_id:
            assert progress.percent >= before[1]
        before = (said_of.prompt_id, progress.percent)
