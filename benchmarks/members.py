"""What is gained by an IoU network with several members?

    python benchmarks/members.py [MODEL_FOLDER]

Scores the validation images of all data sets, and the same after one of the changes of robustness.py each,
with candidates rated by each member alone, and by the mean of the first two, three and so on; each half with
the least IoU that was tuned on the other half. Writes members.json beside this file. Needs the data sets of
data/README.md. Four minutes on two cores.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ranking import changed_once, examples, scores

import nuclei
from nuclei.data.fields import field_numbers
from nuclei.notebook import recipe
from nuclei.segmentation.segmenter import AT_A_TIME


def main(folder: str | Path = nuclei.DEFAULT_MODEL) -> None:
    samples = {s.id: s for s in nuclei.load_samples(recipe("general")["data"])}
    segmenter = nuclei.Segmenter.load(folder, AT_A_TIME)
    validation = [samples[id] for id in segmenter.split["validation"]]
    groups = {"unchanged": validation, "changed": changed_once(validation)}
    asked = {name: examples(segmenter, group, name) for name, group in groups.items()}
    fields = field_numbers(validation)
    rated = {
        name: [np.asarray(segmenter.iou_network(each.found.features, training=False)) for each in group]
        for name, group in asked.items()
    }

    def scored(members: slice) -> dict:
        return {
            name: scores(group, fields, asked[name], [ious[:, members].mean(axis=1) for ious in rated[name]])
            for name, group in groups.items()
        }

    count = rated["unchanged"][0].shape[1]
    report = {
        "alone": [scored(slice(k, k + 1)) for k in range(count)],
        "mean of the first": {n: scored(slice(n)) for n in range(2, count + 1)},
        "data": nuclei.describe(list(samples.values())),
        "versions": nuclei.versions(),
    }
    nuclei.write_json(Path(__file__).with_suffix(".json"), report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:2])
