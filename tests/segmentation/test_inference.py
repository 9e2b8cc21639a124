"""A network as one compiled function, by each engine."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from nuclei import ROOT
from nuclei.common import DEFAULT_MODEL
from nuclei.evaluation.metrics import match
from nuclei.segmentation import inference
from nuclei.segmentation.inference import ENGINES, StoredNetwork, compiled, engine
from nuclei.segmentation.segmenter import Segmenter


@pytest.fixture(scope="module")
def network():
    """Two convolutions, the second at half the size."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs / 255)
    x = keras.layers.Conv2DTranspose(2, 3, strides=2, padding="same", activation="sigmoid")(x)
    return keras.Model(inputs, x)


def same_maps(run, network):
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    maps_before = run(first)
    kept = maps_before.copy()
    for shape in ((1, 32, 64, 3), (3, 64, 32, 3), (1, 96, 96, 3)):
        batch = rng.integers(0, 256, shape).astype(np.uint8)
        maps = run(batch)
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps, np.asarray(network(batch.astype(np.float32))), atol=1e-5)
        each = np.concatenate([run(batch[k : k + 1]) for k in range(len(batch))])
        np.testing.assert_allclose(maps, each, atol=1e-5)
    assert np.array_equal(maps_before, kept) and np.array_equal(run(first), kept), "whatever ran in between"


def test_one_function_for_all_sizes_gives_what_the_network_gives(network):
    same_maps(compiled(network), network)


def test_weights_that_change_later_are_used():
    network = tripling()
    run, batch = compiled(network), np.ones((1, 32, 32, 3), np.uint8)
    assert (run(batch) == 3).all()
    network.set_weights([2 * w for w in network.get_weights()])
    assert (run(batch) == 6).all()


def tripling():
    """Each pixel becomes the sum of its three channels."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(inputs))


@pytest.mark.parametrize("name", ENGINES)
def test_each_engine_gives_what_the_stored_network_gives(name, network, tmp_path, monkeypatch):
    monkeypatch.setenv("NUCLEI_ENGINE", name)
    network.save(tmp_path / "network.keras")
    stored = StoredNetwork(tmp_path / "network.keras", exact=True)
    same_maps(compiled(stored), network)
    assert stored.keras.output_shape == network.output_shape


def test_threads_that_share_a_network_get_what_one_alone_gets(network, tmp_path, monkeypatch):
    monkeypatch.setenv("NUCLEI_ENGINE", "openvino")
    network.save(tmp_path / "network.keras")
    alone, shared = (StoredNetwork(tmp_path / "network.keras", True, callers) for callers in (1, 3))
    batches = [np.random.default_rng(k).random((1, 32, 32 * (1 + k % 3), 3), np.float32) for k in range(30)]
    with ThreadPoolExecutor(3) as pool:
        for batch, maps in zip(batches, pool.map(shared, batches), strict=True):
            np.testing.assert_array_equal(maps, alone(batch))


AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy as np
from nuclei.common import DEFAULT_MODEL, model_folder
from nuclei.segmentation.inference import StoredNetwork

sys.setswitchinterval(1e-6)  # threads take turns as often as they can
network = StoredNetwork(model_folder(DEFAULT_MODEL) / "iou.keras", callers=8)
started = Barrier(8)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda batch: (started.wait(), network(batch)), np.zeros((8, 1, 19), np.float32)))
"""


def test_the_first_calls_of_several_threads_do_not_wait_for_each_other():
    # in new processes, as only the first calls of a process can; without the lock half of them hung
    for _ in range(4):
        subprocess.run([sys.executable, "-c", AT_ONCE], cwd=ROOT, check=True, timeout=60)


def test_an_engine_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("NUCLEI_ENGINE", "abacus")
    with pytest.raises(ValueError, match="abacus.*expected one of openvino, tensorflow"):
        engine()
    monkeypatch.setattr(inference, "find_spec", lambda name: name == "tensorflow")
    monkeypatch.setenv("NUCLEI_ENGINE", "openvino")
    with pytest.raises(ModuleNotFoundError, match="pip install openvino"):
        Segmenter.load(DEFAULT_MODEL)
    monkeypatch.delenv("NUCLEI_ENGINE")
    assert engine() == "tensorflow"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a stored network that triples; Keras may load it as often as it says."""
    monkeypatch.setenv("NUCLEI_ENGINE", "openvino")
    monkeypatch.setattr(inference, "user_cache_path", lambda name: tmp_path / "cache")
    tripling().save(tmp_path / "network.keras")
    return tmp_path / "cache" / "networks"


def tripled(path):
    return StoredNetwork(path)(np.ones((1, 4, 4, 3), np.float32)).max()


def test_a_network_is_converted_once_and_again_when_its_file_changes(cache, tmp_path, monkeypatch):
    path = tmp_path / "network.keras"
    assert tripled(path) == 3
    with monkeypatch.context() as patch:
        patch.setattr(keras.saving, "load_model", None)
        assert tripled(path) == 3
    network = tripling()
    network.set_weights([2 * w for w in network.get_weights()])
    network.save(path)
    assert tripled(path) == 6
    assert [len(list(entry.iterdir())) for entry in cache.iterdir()] == [2, 2]
    for part in cache.rglob("network.*"):
        part.write_bytes(b"damaged")
    assert tripled(path) == 6
    with monkeypatch.context() as patch:
        patch.setattr(keras.saving, "load_model", None)
        assert tripled(path) == 6, "the damaged copy was replaced"


def test_only_the_latest_networks_are_kept(cache, tmp_path, monkeypatch):
    for k in range(3):
        (cache / f"older-{k}").mkdir(parents=True)
    monkeypatch.setattr(inference, "CACHED", 1)
    assert tripled(tmp_path / "network.keras") == 3
    (left,) = cache.iterdir()
    assert (left / "network.xml").exists()


def test_without_a_place_for_the_cache_it_works_too(cache, tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    assert tripled(tmp_path / "network.keras") == 3


@pytest.mark.slow
def test_both_engines_find_the_same_nuclei(sample, monkeypatch):
    labels = []
    for name in ENGINES:
        monkeypatch.setenv("NUCLEI_ENGINE", name)
        segmenter = Segmenter.load(DEFAULT_MODEL)
        segmenter.network = StoredNetwork(ROOT / DEFAULT_MODEL / "model.keras", exact=True)  # in 32 bits both
        labels.append(segmenter(sample[0].image))
    one, other = labels
    assert one.max() == other.max() > 20
    found = match(one, other)
    assert (found.ious > 0.7).sum() == one.max() and found.ious.mean() > 0.95


@pytest.mark.slow
def test_a_segmented_image_needs_no_tensorflow(sample, tmp_path):
    Segmenter.load(DEFAULT_MODEL)  # its networks are in the cache from here on
    image = ROOT / "data" / "sample" / sample[0].id / "images"
    code = (
        "import sys; from nuclei.cli import main; "
        f"assert main(['segment', {str(image)!r}, '--out', {str(tmp_path / 'out')!r}]) == 0; "
        "print({'tensorflow', 'keras', 'matplotlib', 'openvino_telemetry.main'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith("set()\n"), done.stdout + done.stderr
