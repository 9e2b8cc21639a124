import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from nuclei.common import write_json
from nuclei.data import splits
from nuclei.data.fields import HELD_OUT, field_numbers, joins, mosaic
from nuclei.data.samples import Sample
from nuclei.data.splits import balanced_weights, check_validation, load_split, split_ids


def texture(seed, height=64, width=64):
    """A smooth grey picture, dark as fluorescence is."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    grey = ndi.gaussian_filter(noise, 3)
    grey = 30 + 25 * grey / np.abs(grey).max()
    return grey.astype(np.uint8)[..., None].repeat(3, axis=-1)


def as_sample(id, image):
    return Sample(id, image, np.ones(image.shape[:2], np.int32))


@pytest.fixture(scope="module")
def tiles():
    """One field cut in four (0 and 1 above, 2 and 3 below), and six strangers."""
    field = texture(99, 128, 128)
    four = [field[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    return [as_sample(f"{k}", image) for k, image in enumerate([*four, *(texture(k) for k in range(6))])]


@pytest.fixture(scope="module")
def many():
    """Sixty samples, all strangers to each other."""
    return [as_sample(f"{k:02d}", texture(k)) for k in range(60)]


def ids(samples):
    return [s.id for s in samples]


def test_tiles_of_a_field_find_each_other_and_strangers_stay_alone(tiles):
    found = {(join.first, join.second, join.side) for join in joins(tiles)}
    assert found == {(0, 1, "right"), (2, 3, "right"), (0, 2, "below"), (1, 3, "below")}
    group = field_numbers(tiles)
    assert len(set(group[:4])) == 1 and len(set(group)) == 7


def test_the_field_can_be_put_back_together(tiles):
    for start in range(4):
        members = [start, *(k for k in range(4) if k != start)]
        assert np.array_equal(mosaic(tiles, members, joins(tiles))[..., :3], texture(99, 128, 128))


def test_a_mosaic_is_transparent_where_a_tile_is_missing():
    field = texture(99, 128, 128)
    corners = {"a": (0, 0), "b": (0, 64), "c": (64, 0)}
    tiles = [as_sample(id, field[y : y + 64, x : x + 64]) for id, (y, x) in corners.items()]
    expected = np.dstack([field, np.full((128, 128), 255)])
    expected[64:, 64:] = 0
    assert np.array_equal(mosaic(tiles, [0, 1, 2], joins(tiles)), expected)


def test_edges_without_structure_join_nothing():
    flat = [as_sample(str(k), np.full((64, 64, 3), 20, np.uint8)) for k in range(4)]
    assert not joins(flat)


def test_images_of_different_sizes_are_not_compared():
    field = texture(5, 64, 160)
    assert not joins([as_sample("a", field[:, :64]), as_sample("b", field[:, 64:])])


@settings(deadline=None, max_examples=20)
@given(st.floats(0.05, 0.95), st.integers(0, 1000), st.sampled_from(["field", "image"]))
@pytest.mark.filterwarnings("ignore:no image of type")
def test_a_split_is_a_partition_of_the_right_size(fraction, seed, by):
    samples = [as_sample(f"{k:02d}", texture(k)) for k in range(30)]
    train, validation = splits.split(samples, fraction, seed=seed, by=by)
    assert sorted(ids(train) + ids(validation)) == ids(samples)
    assert abs(len(validation) - 30 * fraction) <= 1


@pytest.mark.filterwarnings("ignore:no image of type")
@pytest.mark.parametrize("by", ["field", "image"])
def test_same_seed_same_split_whatever_the_order(many, by):
    train, validation = splits.split(many, seed=4, by=by)
    again = splits.split(many[::-1], seed=4, by=by)
    other = splits.split(many, seed=5, by=by)
    assert (ids(train), ids(validation)) == tuple(map(ids, again))
    assert ids(validation) != ids(other[1])


@pytest.mark.parametrize("seed", range(8))
def test_a_field_is_never_torn_apart(tiles, seed):
    train, validation = splits.split(tiles, 0.4, seed=seed)
    assert len({"0", "1", "2", "3"} & set(ids(train))) in (0, 4)


@pytest.mark.parametrize("by", ["field", "image"])
@pytest.mark.parametrize("seed", range(5))
def test_the_field_of_the_embedded_sample_always_judges(many, seed, by):
    held_out = [as_sample(id, texture(100 + k)) for k, id in enumerate(sorted(HELD_OUT))]
    _, validation = splits.split([*many, *held_out], seed=seed, by=by)
    assert HELD_OUT <= set(ids(validation))
    assert len(validation) in (12, 13)


def test_tiles_of_the_embedded_sample_judge_and_are_one_field(many):
    source = sorted(HELD_OUT)[0]
    cut = [as_sample(f"{source}-r{k}c0", texture(100 + k)) for k in range(3)]
    assert len(set(field_numbers([*many, *cut])[-3:])) == 1
    assert set(ids(cut)) <= set(ids(splits.split([*many, *cut])[1]))


@pytest.mark.filterwarnings("ignore:no image of type")
def test_every_type_has_its_share_in_validation():
    coloured = [np.clip(texture(k) * np.array([4, 2, 5]), 0, 255).astype(np.uint8) for k in range(10)]
    samples = [as_sample(f"a{k}", texture(k)) for k in range(20)]
    samples += [as_sample(f"b{k}", image) for k, image in enumerate(coloured)]
    _, validation = splits.split(samples, 0.2)
    assert sum(id.startswith("b") for id in ids(validation)) == 2


@pytest.mark.filterwarnings("ignore:no image of type")
@pytest.mark.parametrize("grey, coloured, fraction, drawn", [(4, 1, 0.3, 2), (2, 2, 0.2, 1)])
def test_a_few_images_of_several_types_can_be_split(grey, coloured, fraction, drawn):
    dyed = [np.clip(texture(k) * np.array([4, 2, 5]), 0, 255).astype(np.uint8) for k in range(coloured)]
    samples = [as_sample(f"a{k}", texture(10 + k)) for k in range(grey)]
    samples += [as_sample(f"b{k}", image) for k, image in enumerate(dyed)]
    train, validation = splits.split(samples, fraction)
    assert train and len(validation) == drawn


def test_rare_types_are_shown_more_often():
    coloured = np.clip(texture(0) * np.array([4, 2, 5]), 0, 255).astype(np.uint8)
    samples = [as_sample("a", coloured), *(as_sample(str(k), texture(k)) for k in range(4))]
    weights = balanced_weights(samples)
    assert weights[0] == 2 * weights[1] and np.all(weights[1:] == weights[1])


def test_a_split_is_read_back(tiles, tmp_path):
    train, validation = splits.split(tiles)
    write_json(tmp_path / "split.json", split_ids(train, validation))
    again = load_split(tmp_path / "split.json", tiles)
    assert (ids(train), ids(validation)) == tuple(map(ids, again))


def test_only_what_a_model_has_not_learned_from_may_judge_it(tiles):
    assert ids(splits.unseen(tiles, ["0", "1", "elsewhere"])) == [str(k) for k in range(2, 10)]
    with pytest.raises(ValueError, match="all 10 samples"):
        splits.unseen(tiles, ids(tiles))


def test_tiles_of_the_embedded_sample_may_not_judge_who_knows_their_field(tiles):
    source, sibling = sorted(HELD_OUT)[:2]
    tile = as_sample(f"{source}-r0c0", texture(1))
    assert ids(splits.unseen([*tiles[:2], tile], ["0"])) == ["1", tile.id]
    assert ids(splits.unseen([*tiles[:2], tile], ["0", sibling])) == ["1"]


# --- bad input ------------------------------------------------------------------------------------------


def by_hand(folder, train, validation):
    """Write a split file, and return its path."""
    write_json(folder / "split.json", split_ids(train, validation))
    return folder / "split.json"


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_validation_fraction_out_of_range(many, fraction):
    with pytest.raises(
        ValueError, match=f"validation_fraction is {fraction}, expected a number above 0 and below 1"
    ):
        splits.split(many, fraction)


def test_images_without_any_nucleus_alone(many, tmp_path):
    empty = [Sample(s.id, s.image, 0 * s.labels) for s in many]
    with pytest.raises(ValueError, match="none of the 48 training images has a nucleus"):
        splits.split(empty)
    with pytest.raises(ValueError, match="none of the 40 training images has a nucleus"):
        load_split(by_hand(tmp_path, empty[:40], many[40:]), [*empty[:40], *many[40:]])
    splits.split([*empty[:30], *many[30:]])


def test_unknown_kind_of_split(many):
    with pytest.raises(ValueError, match='by is \'tile\', expected "field" or "image"'):
        splits.split(many, by="tile")


def test_too_few_fields(tiles):
    with pytest.raises(ValueError, match="4 samples in 1 field cannot be split"):
        splits.split(tiles[:4])


def test_a_type_that_validation_lacks(many):
    coloured = np.clip(texture(0) * np.array([4, 2, 5]), 0, 255).astype(np.uint8)
    with pytest.warns(UserWarning, match="no image of type purple tissue is in validation"):
        splits.split([*many, as_sample("one", coloured)])


def test_a_type_that_only_a_model_knows(many):
    coloured = np.clip(texture(0) * np.array([4, 2, 5]), 0, 255).astype(np.uint8)
    with pytest.warns(UserWarning, match="no image of type purple tissue is among those left"):
        splits.unseen([*many, as_sample("one", coloured)], ["one"])


def test_a_split_by_hand_whose_validation_lacks_a_type(many, tmp_path):
    coloured = np.clip(texture(0) * np.array([4, 2, 5]), 0, 255).astype(np.uint8)
    samples = [*many, as_sample("one", coloured)]
    write_json(tmp_path / "split.json", split_ids(samples[1:], samples[:1]))
    with pytest.warns(UserWarning, match="no image of type .*purple tissue is in validation"):
        load_split(tmp_path / "split.json", samples)


def test_a_split_by_hand_that_leaks(tiles, tmp_path):
    with pytest.warns(
        UserWarning, match="1 fields of view have tiles in both training and validation, such as 0, "
    ):
        load_split(by_hand(tmp_path, tiles[:2], tiles[2:]), tiles)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_split(by_hand(tmp_path, tiles[:4], tiles[4:]), tiles)


def test_a_split_file_of_other_samples(tiles, tmp_path):
    write_json(tmp_path / "split.json", split_ids(tiles[:5], tiles[5:]))
    with pytest.raises(ValueError, match="split.json: 1 id not among the samples, such as '3'"):
        load_split(tmp_path / "split.json", tiles[:3] + tiles[4:])


@pytest.mark.parametrize(
    "content",
    ['{"train": ["0"]}', '["0"]', '{"train": ["0"]', '{"train": [], "validation": ["0"]}', "", "3"]
    + ['{"train": "01", "validation": ["4"]}'],
)
def test_a_file_that_is_no_split(tiles, tmp_path, content):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(ValueError, match="split.json: no split, expected"):
        load_split(tmp_path / "split.json", tiles)


def test_who_chooses_thresholds_does_not_judge_them(many):
    check_validation(many[:2])
    with pytest.raises(ValueError, match="1 validation samples are of one field"):
        check_validation(many[:1])


def test_images_one_pixel_high_join_nothing():
    row = np.arange(40, dtype=np.uint8).reshape(1, 40, 1).repeat(3, axis=2)
    assert joins([Sample(id, row, row[..., 0]) for id in "ab"]) == []


def test_a_split_file_with_an_id_on_both_sides(tiles, tmp_path):
    write_json(tmp_path / "split.json", split_ids(tiles[:6], tiles[5:]))
    with pytest.raises(ValueError, match="2 ids of images that are listed twice, such as '5'"):
        load_split(tmp_path / "split.json", tiles)


@pytest.mark.parametrize(
    "train, wrong",
    [
        (["1", "0", "1"], "2 ids .* twice"),
        (["0", "/1", "1"], "2 ids .* twice"),
        ([["0"]], "not among the samples"),
    ],
)
def test_ids_listed_twice_or_in_a_list(tiles, tmp_path, train, wrong):
    write_json(tmp_path / "split.json", {"train": train, "validation": ["4", "5"]})
    with pytest.raises(ValueError, match=f"split.json: .*{wrong}"):
        load_split(tmp_path / "split.json", tiles)


def test_shading_that_all_images_share_joins_none_of_them():
    y, x = np.mgrid[-32:32, -32:32]
    shade = 20 + 120 * np.exp(-(x**2 + y**2) / 1000)
    noise = np.random.default_rng(0).normal(0, 3, (2, 64, 64))
    images = (shade + noise).clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
    assert not joins([as_sample(str(k), image) for k, image in enumerate(images)])


def test_a_step_across_the_seam_is_no_join():
    field = texture(99, 64, 128)
    right = field[:, 64:] + np.uint8(12)  # continues in shape, under another light
    assert joins([as_sample("a", field[:, :64]), as_sample("b", field[:, 64:])])
    assert not joins([as_sample("a", field[:, :64]), as_sample("b", right)])


def test_an_image_has_one_neighbour_on_each_side(tiles):
    noise = np.random.default_rng(0).normal(0, 3, (64, 64, 1))
    worse = np.clip(tiles[0].image + noise, 0, 255).astype(np.uint8)  # continues in tile 1 as well, less well
    found = joins([*tiles, as_sample("worse", worse)])
    assert [join.first for join in found if join.second == 1 and join.side == "right"] == [0]
