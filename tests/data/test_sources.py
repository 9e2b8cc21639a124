"""Several data sets at once, and which of their images belong together."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_sample

from nuclei.common import write_json
from nuclei.data.fields import field_numbers
from nuclei.data.samples import Sample, describe, load_samples
from nuclei.data.sources import group_name
from nuclei.data.splits import balanced_weights, is_seen, load_split, seen_in, split, split_ids, unseen


def a_picture(seed):
    """One small nucleus, of different noise for each seed; its edges are black, so that tiles do not join."""
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:18, 10:18] = np.random.default_rng(seed).integers(80, 99, (8, 8, 1))
    return image


def a_sample(name, seed, source="", group=""):
    image = a_picture(seed)
    return Sample(name, image, (image[..., 0] > 50).astype(np.int32), source, group)


@pytest.fixture
def other(tmp_path):
    """A second data set, with an image named as one of the squares is."""
    for k, name in enumerate(["square-0", "x_t0", "x_t1"]):
        write_sample(tmp_path / "other", a_sample(name, k))
    return tmp_path / "other"


def test_ids_of_several_data_sets_begin_with_their_names(folder, other):
    samples = load_samples([folder, other])
    assert [s.id for s in samples][:5] == [
        "other/square-0",
        "other/x_t0",
        "other/x_t1",
        "squares/square-0",
        "squares/square-1",
    ]
    assert {s.source for s in samples} == {"squares", "other"}
    assert [s.name for s in samples][:2] == ["square-0", "x_t0"]
    assert [s.group for s in samples][:4] == ["", "other/x", "other/x", ""]


def test_one_data_set_in_a_list_is_as_without_the_list(folder):
    (one, *_), (listed, *_) = load_samples(folder), load_samples([folder])
    assert one.id == listed.id == "square-0" and one.source == listed.source == "squares"


def test_a_zip_and_a_folder_are_called_alike(folder, tmp_path):
    archive = shutil.make_archive(str(folder), "zip", folder)
    assert {s.source for s in load_samples(archive)} == {"squares"}


@pytest.mark.parametrize(
    "name, group",
    [
        ("sbsst265/normal_3_t1", "sbsst265/normal_3"),
        ("sbsst265/normal_3", ""),
        ("nuinsseg/human_brain_07", "nuinsseg/human_brain"),
        ("tnbc/01_3", "tnbc/01"),
        ("mine/a_2", ""),
    ],
)
def test_names_tell_which_images_belong_together(name, group):
    assert group_name(name) == group


def test_what_belongs_together_is_one_field():
    samples = [
        a_sample("a/1", 1, "a", "patient"),
        a_sample("a/2", 2, "a", "patient"),
        a_sample("b/1", 3, "b", "patient"),
        a_sample("b/2", 1, "b"),  # the first image once more
    ]
    numbers = field_numbers(samples)
    assert numbers[0] == numbers[1] == numbers[3] != numbers[2]


@pytest.mark.parametrize("seed", range(5))
def test_a_split_takes_its_share_of_each_data_set_and_keeps_groups_whole(seed):
    samples = [a_sample(f"a/{k}", k, "a") for k in range(10)]
    samples += [a_sample(f"b/{k}", 100 + k, "b", f"organ {k // 4}") for k in range(20)]
    train, validation = split(samples, 0.2, seed=seed)
    assert sum(s.source == "a" for s in validation) == 2
    assert {s.group for s in train if s.group}.isdisjoint(s.group for s in validation if s.group)
    assert sum(s.source == "b" for s in validation) == 4


def test_validation_images_stay_when_a_data_set_is_added():
    some = [a_sample(f"b/{k}", k, "b") for k in range(30)]
    more = [a_sample(f"a/{k}", 100 + k, "a") for k in range(9)]
    (_, alone), (_, together) = split(some), split([*some, *more])
    assert [s.id for s in alone] == [s.id for s in together if s.source == "b"]


def test_small_data_sets_are_drawn_more_often():
    samples = [a_sample("a/0", 0, "a")] + [a_sample(f"b/{k}", k, "b") for k in range(1, 10)]
    assert balanced_weights(samples) == pytest.approx([1] + [1 / 3] * 9)


def test_a_model_of_several_data_sets_is_not_scored_on_one_of_them(folder, other):
    both, one = load_samples([folder, other]), load_samples(folder)
    assert [s.id for s in unseen(one, ["squares/square-1", "other/square-0"])] == [
        "square-0",
        "square-2",
        "square-3",
    ]
    assert "squares/square-1" not in {s.id for s in unseen(both, ["square-1"])}


def test_a_model_of_one_data_set_may_be_scored_on_images_of_the_same_names(folder, tmp_path):
    seen = split_ids(load_samples(folder), [])["train"]
    assert seen[0] == "squares/square-0"
    shutil.copytree(folder, tmp_path / "others")
    others = load_samples(tmp_path / "others")
    assert unseen(others, seen) == others
    bare = [s.id for s in others]  # as former models have them
    for known, ids in ((load_samples(folder), seen), (others, bare)):
        with pytest.raises(ValueError, match="as all 4 samples"):
            unseen(known, ids)
    assert is_seen(a_sample("square-0", 0), seen), "it may be of any data set"


def test_ids_of_the_data_science_bowl_are_alike_in_every_edition():
    ids = split_ids([a_sample("07fb", 0, "dsb2018")], [a_sample("dsb2018/0ea2", 1, "dsb2018")])
    assert ids["train"] == ["07fb"] and ids["validation"] == ["dsb2018/0ea2"]
    for name, side in (("07fb", "train"), ("0ea2", "validation")):
        assert is_seen(a_sample(name, 2, "dsb2018-official"), ids[side])


def test_training_images_are_recognised_in_a_renamed_folder(folder, tmp_path):
    train, rest = load_samples(folder)[:2], load_samples(folder)[2:]
    seen = seen_in(split_ids(train, rest))
    renamed = load_samples(shutil.copytree(folder, tmp_path / "renamed"))
    assert unseen(renamed, seen) == renamed[2:]
    changed = replace(renamed[0], image=renamed[0].image // 2)
    assert not is_seen(changed, seen)


def test_a_split_keeps_what_the_model_was_trained_on_before():
    first = split_ids([a_sample("a", 0)], [])
    both = split_ids([a_sample("b", 1)], [a_sample("c", 2)], first)
    assert both["train"] == ["a", "b"] and both["validation"] == ["c"]
    assert all(is_seen(a_sample(name, k), seen_in(both)) for k, name in ((0, "x"), (1, "y"), (9, "a")))
    assert not is_seen(a_sample("c", 2), seen_in(both))


def test_a_split_of_one_data_set_is_read_for_one_and_for_several(folder, other, tmp_path):
    one = load_samples(folder)
    write_json(tmp_path / "split.json", split_ids(one[:2], one[2:]))
    for samples in (one, load_samples([folder, other])):
        train, validation = load_split(tmp_path / "split.json", samples)
        assert [s.name for s in train + validation] == [s.name for s in one]
    write_json(tmp_path / "full.json", {"train": ["squares/square-0"], "validation": ["squares/square-1"]})
    train, validation = load_split(tmp_path / "full.json", one)
    assert [s.id for s in train + validation] == ["square-0", "square-1"]


def test_several_data_sets_are_described_one_by_one(folder, other):
    about = describe(load_samples([folder, other]))
    assert about["images"] == 7 and about["edition"] == "other, squares"
    assert about["sources"]["squares"] == describe(load_samples(folder))


# --- bad input ------------------------------------------------------------------------------------------


def test_two_data_sets_of_one_name(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere" / "squares")
    with pytest.raises(ValueError, match="both are called squares.*Rename"):
        load_samples([folder, tmp_path / "elsewhere" / "squares"])


def test_no_data_set():
    with pytest.raises(ValueError, match="no data source"):
        load_samples([])


@pytest.mark.parametrize(
    "source, error",
    [(None, TypeError), ([1, "sample"], TypeError), ("", ValueError), (["sample", ""], ValueError)],
)
def test_what_is_no_data_set(source, error):
    with pytest.raises(error, match="`source` is .* expected"):
        load_samples(source)


def test_a_data_set_without_labels_is_named(folder, tmp_path, squares):
    write_sample(tmp_path / "bare", squares[0])
    shutil.rmtree(tmp_path / "bare" / "square-0" / "masks")
    with pytest.raises(FileNotFoundError, match="bare: square-0 has no masks"):
        load_samples([folder, tmp_path / "bare"])


def test_a_split_that_names_images_of_a_data_set_not_loaded(folder, tmp_path):
    samples = load_samples(folder)
    write_json(
        tmp_path / "split.json",
        {"train": ["squares/square-0", "other/x", "other/y"], "validation": ["square-1"]},
    )
    with pytest.raises(
        ValueError, match="split.json: 2 ids .*such as 'other/x'.* Loaded data sets: squares.$"
    ):
        load_split(tmp_path / "split.json", samples)


def test_a_split_for_several_data_sets_that_names_none(folder, other, tmp_path):
    ids = {"train": ["square-1"], "validation": ["squares/square-2"]}
    write_json(tmp_path / "split.json", ids)
    with pytest.raises(
        ValueError, match="1 id not .*'square-1'.* NAME/id where .* Loaded data sets: other, squares"
    ):
        load_split(tmp_path / "split.json", load_samples([folder, other]))
