"""Figures from made-up scores: intervals, what is retained, and the notes about them."""

import numpy as np
import pytest

from vlmprune_tools.evaluation.accuracy_rows import Row, difference_rows, make_task, mean_rows, task_rows
from vlmprune_tools.evaluation.dataset import MEAN
from vlmprune_tools.evaluation.pruning_config import PruningConfig
from vlmprune_tools.evaluation.table_notes import notes_of, undecided_tasks, untested_tasks

CONFIGS = [
    PruningConfig("unpruned", 9),
    PruningConfig("vlm-pruner", 3),
    PruningConfig("random", 3),
    PruningConfig("uniform", 3),
]


def right(n: int, *hits: int) -> np.ndarray:
    """Scores in which config m has the first hits[m] of n items right."""
    return np.array([[float(at < count) for at in range(n)] for count in hits])


def rows_by_method(rows: list[Row]) -> dict[str, Row]:
    return {row.method: row for row in rows}


def test_accuracy_has_the_wilson_interval() -> None:
    row = rows_by_method(task_rows(make_task("t", right(100, 95, 90, 50, 50), 0), CONFIGS))["unpruned"]
    assert (row.accuracy, row.low, row.high, row.n) == (0.95, 0.8882, 0.9785, 100)
    assert (row.retained_percent, row.retained_low, row.retained_high) == (100.0, 100.0, 100.0)


def test_what_is_retained_is_paired() -> None:
    """Half as often right on the same items: 50 %; the interval is that of a share of the items that were right."""
    row = rows_by_method(task_rows(make_task("t", right(400, 200, 100, 0, 200), 0), CONFIGS))
    assert row["vlm-pruner"].retained_percent == 50.0
    spread = 196 * np.sqrt(0.25 / 200)
    assert row["vlm-pruner"].retained_low == pytest.approx(50 - spread, abs=1)
    assert row["vlm-pruner"].retained_high == pytest.approx(50 + spread, abs=1)
    assert (row["uniform"].retained_low, row["uniform"].retained_high) == (100.0, 100.0)
    assert (row["random"].retained_percent, row["random"].low) == (0.0, 0.0)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    scores = right(30, 25, 20, 10, 12)
    first, again, other = (task_rows(make_task("t", scores, seed), CONFIGS) for seed in (1, 1, 2))
    assert first == again and first != other


def test_a_task_does_not_depend_on_its_neighbours() -> None:
    """Its draw is its own: leaving a task out changes no other."""
    assert np.array_equal(make_task("t", right(9, 5, 4), 0).means, make_task("t", right(9, 5, 4), 0).means)
    assert not np.array_equal(make_task("t", right(9, 5, 4), 0).means, make_task("u", right(9, 5, 4), 0).means)


def test_an_unpruned_model_without_a_hit_retains_nothing() -> None:
    rows = task_rows(make_task("t", right(5, 0, 2, 0, 0), 0), CONFIGS)
    assert {row.retained_percent for row in rows} == {None}
    assert "t: the unpruned model gets nothing right" in notes_of(rows, ())[0]


def test_the_mean_is_of_percentages_and_of_equal_weight() -> None:
    """As the paper prints it: 50 % of a large task and 100 % of a small one are 75 %."""
    tasks = [make_task("large", right(100, 80, 40, 0, 80), 0), make_task("small", right(10, 2, 2, 0, 2), 0)]
    row = rows_by_method(mean_rows(MEAN, tasks, CONFIGS))["vlm-pruner"]
    assert row.retained_percent == 75.0
    assert (row.accuracy, row.n) == (pytest.approx((0.4 + 0.2) / 2), 110)
    assert row.retained_low is not None and row.retained_high is not None
    assert row.retained_low < 75 < row.retained_high and row.low < row.accuracy < row.high


def test_a_mean_leaves_out_what_has_no_percentage() -> None:
    tasks = [make_task("t", right(10, 8, 4, 0, 8), 0), make_task("never", right(10, 0, 0, 0, 0), 0)]
    assert rows_by_method(mean_rows(MEAN, tasks, CONFIGS))["vlm-pruner"].retained_percent == 50.0
    alone = rows_by_method(mean_rows(MEAN, tasks[1:], CONFIGS))["vlm-pruner"]
    assert (alone.retained_percent, alone.retained_low, alone.accuracy) == (None, None, 0.0)


def test_a_task_that_a_floor_loses_nothing_on_does_not_test_pruning() -> None:
    """Every floor must keep it: 99.5 % is kept, 50 % is not."""
    rows = task_rows(make_task("easy", right(400, 400, 400, 398, 400), 0), CONFIGS)
    rows += task_rows(make_task("hard", right(400, 400, 380, 200, 250), 0), CONFIGS)
    rows += task_rows(make_task("half", right(400, 400, 380, 200, 400), 0), CONFIGS)
    assert untested_tasks(rows, ["easy", "hard", "half"]) == ("easy",)
    assert undecided_tasks(rows, ["easy", "hard", "half"]) == ()
    assert [note for note in notes_of(rows, ("easy",)) if note.startswith("easy *: does not test pruning")]


def test_a_loss_of_few_questions_is_not_decided() -> None:
    """One of eight may be chance, but is not called nothing; all of eight is no chance."""
    rows = task_rows(make_task("few", right(8, 8, 8, 7, 7), 0), CONFIGS)
    rows += task_rows(make_task("lost", right(8, 8, 8, 0, 0), 0), CONFIGS)
    assert untested_tasks(rows, ["few", "lost"]) == ()
    assert undecided_tasks(rows, ["few", "lost"]) == ("few",)
    assert "few: too few questions to tell whether the floors lose anything" in notes_of(rows, ())


def test_without_floors_nothing_is_said_of_tasks() -> None:
    rows = task_rows(make_task("easy", right(40, 40, 40), 0), CONFIGS[:2])
    assert untested_tasks(rows, ["easy"]) == ()


def test_only_the_smallest_k_counts() -> None:
    configs = [*CONFIGS, PruningConfig("random", 2), PruningConfig("uniform", 2)]
    rows = task_rows(make_task("t", right(40, 40, 40, 40, 40, 10, 10), 0), configs)
    assert untested_tasks(rows, ["t"]) == ()


def test_an_interval_of_two_answers_does_not_go_below_nothing() -> None:
    """Where no answer changed it is as wide as the rule of three says, within what can be."""
    notes = notes_of(mean_rows(MEAN, [make_task("t", right(2, 2, 2, 2, 2), 0)], CONFIGS), ())
    assert notes and all("[0.0, 250.0]" in note for note in notes)


@pytest.mark.parametrize(
    ("hits", "verdict"),
    [((90, 85, 40, 40), "above it"), ((90, 40, 85, 85), "BELOW it"), ((90, 85, 84, 86), "overlap")],
)
def test_verdicts_against_floors(hits: tuple[int, ...], verdict: str) -> None:
    notes = notes_of(mean_rows(MEAN, [make_task("t", right(100, *hits), 0)], CONFIGS), ())
    assert len(notes) == 2 and all(verdict in note for note in notes)


def test_no_change_at_all_is_not_certainty() -> None:
    """Nothing lost of 20 questions may be 15 % lost of all: that is not apart from 5 % lost."""
    few, many = (
        notes_of(mean_rows(MEAN, [make_task("t", right(n, n, n, n - n // 20, 0), 0)], CONFIGS), ()) for n in (20, 2000)
    )
    assert "vlm-pruner 100.0 % [85.0, 115.0]" in few[0] and "overlap" in few[0]
    assert "apart" in many[0]


def test_differences_are_paired_and_to_the_first_method() -> None:
    """Six questions that only the first got right are p = 1/32, two are no evidence."""
    first, second = difference_rows(MEAN, [make_task("t", right(40, 40, 30, 24, 28), 0)], CONFIGS)
    assert (first.method, first.against, first.only_this, first.only_other) == ("random", "vlm-pruner", 0, 6)
    assert (
        first.difference == pytest.approx(-0.15) and first.high < 0 and first.p_value == pytest.approx(2 / 64, abs=1e-4)
    )
    assert second.only_other == 2 and second.p_value == 0.5
