"""Coefficient arrays: whole aligned shards, checked bytes, values that keep their range."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks.errors import StoreError
from tasks.store import AuditFolder, CoefficientStore, Shard
from tasks.store.coefficients import round_mantissa
from wam_core.basis import CoefficientLayout, WaveletBasis

LAYOUT = CoefficientLayout((6, 5), WaveletBasis("haar", 1, "zero"))
FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
# Doubling a rounded subnormal is exact; only what is normal has a relative error to bound.
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
# Above it, some numbers of bits would round to infinity.
LARGEST_ROUNDED_UP = 2.0**127


@pytest.fixture
def folder(tmp_path):
    return AuditFolder(str(tmp_path / "audit"))


@pytest.fixture
def store(folder):
    store = CoefficientStore(folder)
    store.create(["a", "b"], n_samples=7, channels=2, layout=LAYOUT, shard_size=3)
    return store


def maps(n_samples, seed=0):
    shape = (n_samples, 2, LAYOUT.size)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def shard(index, start, stop):
    return Shard(index=index, start=start, stop=stop)


class TestShards:
    def test_whole_shards_come_back_also_the_short_last_one(self, store):
        written = [maps(3, 1), maps(3, 2), maps(1, 3)]
        for index, values in enumerate(written):
            store.write("a", shard(index, 3 * index, min(3 * index + 3, 7)), values)
        assert np.array_equal(store.read("a", slice(None)), np.concatenate(written))
        assert np.array_equal(store.read("a", 4), written[1][1])

    def test_each_shard_is_one_file_and_the_rest_is_missing(self, store, folder):
        name = store.write("a", shard(1, 3, 6), maps(3))
        assert name == "coefficients.zarr/a/c/1/0/0"
        assert folder.exists(name)
        assert not folder.exists("coefficients.zarr/a/c/0/0/0")
        assert np.isnan(store.read("a", slice(0, 3))).all()

    @pytest.mark.parametrize("index", [0, 2])
    def test_a_shard_without_any_map_is_a_file_too(self, store, folder, index):
        start, stop = 3 * index, min(3 * index + 3, 7)
        nothing = np.full((stop - start, 2, LAYOUT.size), np.nan, dtype=np.float32)
        assert folder.size(store.write("a", shard(index, start, stop), nothing))

    @pytest.mark.parametrize(
        ("index", "start", "stop"), [(0, 0, 2), (1, 2, 5), (0, 3, 6), (1, 3, 7), (2, 6, 8)]
    )
    def test_a_shard_that_is_not_the_arrays_is_refused(self, store, index, start, stop):
        with pytest.raises(StoreError, match="shards of 3: two tasks would write one file"):
            store.write("a", shard(index, start, stop), maps(stop - start))

    def test_equal_maps_give_equal_bytes(self, store, folder):
        first = folder.sha256(store.write("a", shard(0, 0, 3), maps(3)))
        assert folder.sha256(store.write("a", shard(0, 0, 3), maps(3))) == first
        assert folder.sha256(store.write("b", shard(0, 0, 3), maps(3))) == first

    def test_a_torn_file_is_replaced_and_never_read(self, store, tmp_path):
        name = store.write("a", shard(0, 0, 3), maps(3, 1))
        path = tmp_path / "audit" / name
        path.write_bytes(path.read_bytes()[:100])
        store.write("a", shard(0, 0, 3), maps(3, 2))
        assert np.array_equal(store.read("a", slice(0, 3)), maps(3, 2))

    @pytest.mark.parametrize("place", [0.02, 0.5, 0.999])
    def test_a_flipped_bit_is_found_when_it_is_read(self, store, tmp_path, place):
        path = tmp_path / "audit" / store.write("a", shard(0, 0, 3), maps(3))
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 16
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"a is damaged at samples .*--repair"):
            store.read("a", slice(0, 3))

    def test_an_unknown_method_names_those_there_are(self, store):
        with pytest.raises(StoreError, match="no array 'c'; it has a, b"):
            store.read("c", 0)

    def test_laying_out_again_keeps_what_is_there(self, store):
        store.write("a", shard(0, 0, 3), maps(3))
        store.create(["a", "b", "c"], n_samples=7, channels=2, layout=LAYOUT, shard_size=3)
        assert np.array_equal(store.read("a", slice(0, 3)), maps(3))
        assert store.methods() == ["a", "b", "c"]

    def test_the_layout_is_recorded_with_the_array(self, store, tmp_path):
        array = zarr.open_array(tmp_path / "audit" / "coefficients.zarr" / "a")
        assert array.metadata.dimension_names == ("sample", "channel", "coefficient")
        assert array.attrs["layout"] == LAYOUT.record()
        assert array.attrs["wavelet"] == "haar"
        assert array.chunks == (1, 2, LAYOUT.size)
        assert np.isnan(array.fill_value)


class TestRoundedMantissa:
    @given(arrays.arrays(np.float32, st.integers(0, 20), elements=FLOATS), st.integers(1, 23))
    def test_the_relative_error_is_bounded(self, values, bits):
        rounded = round_mantissa(values, bits)
        normal = (np.abs(values) >= SMALLEST_NORMAL) & (np.abs(values) < LARGEST_ROUNDED_UP)
        before = values[normal].astype(np.float64)
        error = np.abs(rounded[normal].astype(np.float64) - before)
        assert (error <= np.abs(before) * 2.0 ** -(bits + 1)).all()

    @given(arrays.arrays(np.float32, st.integers(0, 20), elements=FLOATS), st.integers(1, 23))
    def test_rounding_again_changes_nothing(self, values, bits):
        once = round_mantissa(values, bits)
        assert np.array_equal(round_mantissa(once, bits), once, equal_nan=True)

    @given(arrays.arrays(np.float32, st.integers(0, 20), elements=FLOATS), st.integers(1, 23))
    def test_what_is_not_finite_and_every_sign_stay(self, values, bits):
        rounded = round_mantissa(values, bits)
        special = ~np.isfinite(values)
        assert np.array_equal(rounded[special], values[special], equal_nan=True)
        signed = ~np.isnan(values)
        assert np.array_equal(np.signbit(rounded[signed]), np.signbit(values[signed]))

    @given(arrays.arrays(np.float32, 5, elements=FLOATS), st.integers(1, 22))
    def test_dropped_bits_are_zero(self, values, bits):
        rounded = round_mantissa(values, bits)
        raw = rounded[np.isfinite(values)].view(np.uint32)
        assert (raw & np.uint32((1 << (23 - bits)) - 1) == 0).all()

    def test_the_largest_numbers_stay_finite(self):
        largest = np.array([np.finfo(np.float32).max, -np.finfo(np.float32).max])
        assert np.isfinite(round_mantissa(largest.astype(np.float32), 7)).all()

    @pytest.mark.parametrize("bits", [0, 24])
    def test_impossible_numbers_of_bits_are_refused(self, bits):
        with pytest.raises(ValueError, match="1 to 23 bits"):
            round_mantissa(np.zeros(1, np.float32), bits)
