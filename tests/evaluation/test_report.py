import numpy as np
import pytest

from nuclei.data.samples import Sample
from nuclei.evaluation.report import compare, full_report


def test_scores_by_data_set():
    labels = np.zeros((40, 40), int)
    labels[4:12, 4:12], labels[20:30, 20:30] = 1, 2
    image = np.zeros((40, 40, 3), np.uint8)
    found = {"a": labels, "b": np.where(labels == 2, 0, labels)}
    results = [compare(Sample(source, image, labels, source), found[source], 0) for source in "ba"]
    by_source = full_report(results)["by_source"]
    assert list(by_source) == ["a", "b"]
    assert by_source["a"]["score"] == 1 and by_source["b"]["score"] == pytest.approx(0.5)
    assert by_source["b"]["nuclei"] == 2 and by_source["b"]["predicted_nuclei"] == 1
