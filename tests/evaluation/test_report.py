import numpy as np
import pytest

from nuclei.data.samples import Sample
from nuclei.evaluation.report import best_median_worst, compare, full_report, tuned_results


@pytest.fixture
def samples():
    """Six dark images with one nucleus of 20 x 20 pixels each, brighter from image to image."""
    samples = []
    for k in range(6):
        image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int32)
        image[10:30, 10:30], labels[10:30, 10:30] = 100 + 20 * k, 1
        samples.append(Sample(f"image-{k}", image, labels))
    return samples


def cut(labels, columns):
    """The nucleus without its last columns; without two of twenty its IoU is 0.9."""
    predicted = labels.copy()
    predicted[:, 30 - columns :] = 0
    return predicted


def test_a_full_report_holds_every_score(samples):
    results = [
        compare(s, cut(s.labels, 2 * k), k) for k, s in enumerate(samples[:3])
    ]  # IoUs of 1, 0.9 and 0.8
    report = full_report(results)
    assert [image["score"] for image in report["per_image"]] == [1.0, 0.8, 0.6]
    assert report["all"]["score"] == pytest.approx(0.8) and report["all"]["fields"] == 3
    assert list(report["by_type"]) == ["small fluorescent"] and "by_source" not in report
    assert report["by_threshold"]["threshold"][0] == 0.5 and report["by_threshold"]["tp"][0] == 3
    assert report["precision_by_type"] == {"small fluorescent": report["by_threshold"]["ap"]}
    assert sum(row["nuclei"] for row in report["by_size"]) == 3


def test_a_method_is_scored_with_what_was_tuned_on_the_other_half(samples):
    """One image is best with 0 columns cut, all others with 4; its half is scored with the others' choice."""
    seen = []

    def segment(image, columns):
        seen.append(columns)
        labels = (image[..., 0] > 0).astype(np.int32)
        return cut(labels, columns)

    samples = [Sample(s.id, s.image, s.labels if k == 0 else cut(s.labels, 4)) for k, s in enumerate(samples)]
    results = tuned_results(samples, range(6), [s.image for s in samples], {"columns": [0, 4]}, segment)
    assert [r.id for r in results] == [s.id for s in samples]
    assert sum(r.match.ious.max() == 1 for r in results) == 5, "all but the first are cut by 4"
    assert len(seen) == 6 * 2 + 6


def test_the_best_the_median_and_the_worst(samples):
    columns = [4, 0, 10, 2, 8]
    results = [compare(s, cut(s.labels, c), 0) for s, c in zip(samples, columns, strict=False)]
    kind = "small fluorescent"
    assert best_median_worst(results) == {kind: {"best": 1, "median": 0, "worst": 2}}
    assert best_median_worst(results[:2]) == {kind: {"best": 1, "worst": 0}}
    assert best_median_worst(results[:1]) == {kind: {"best": 0}}
