"""What is reported of several images together; tests/test_cli.py has the rest, from files to the table."""

import pytest

from nuclei.evaluation.report import compare, measures_by_type


def test_types_of_one_kind_are_also_reported_together(squares):
    kinds = ("small fluorescent", "purple tissue", "large fluorescent", "large fluorescent")
    guesses = [s.labels if k != 2 else 0 * s.labels for k, s in enumerate(squares)]
    results = [
        compare(s, guess, field)._replace(type=kind)
        for field, (s, guess, kind) in enumerate(zip(squares, guesses, kinds, strict=True))
    ]
    found = measures_by_type(results)
    assert list(found) == ["small fluorescent", "large fluorescent", "purple tissue", "all fluorescent"]
    assert [each["images"] for each in found.values()] == [1, 2, 1, 3]
    assert [each["score"] for each in found.values()] == pytest.approx([1, 1 / 2, 1, 2 / 3])
    assert found["all fluorescent"]["nuclei"] == sum(
        found[f"{k} fluorescent"]["nuclei"] for k in ("small", "large")
    )
