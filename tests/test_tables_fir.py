"""Tables of filters: A-weighting taps, K-weighting sections and block matrices."""

import numpy as np
import pytest
import scipy.signal

from korvax_eqx._tables import _loudness as loudness
from korvax_eqx._tables._fir import a_weighting_taps

RATES = (8000.0, 16000.0, 22050.0, 44100.0, 48000.0, 96000.0)
CORNERS = (1681.9744509555, 38.1354708760)


def response(section, frequency, sr):
    _, value = scipy.signal.freqz(section[:3], section[3:], worN=[frequency], fs=sr)
    return value[0]


@pytest.mark.parametrize("sr", RATES)
def test_a_weighting_taps_equal_auraloss(sr, monkeypatch):
    perceptual = pytest.importorskip("auraloss.perceptual")
    fitted, fit = [], scipy.signal.firls

    def recorded(*args, **kwargs):
        fitted.append(fit(*args, **kwargs))
        return fitted[-1]

    with monkeypatch.context() as patch:
        patch.setattr(scipy.signal, "firls", recorded)
        module = perceptual.FIRFilter("aw", fs=sr)
    taps = a_weighting_taps(sr, 101)
    largest = np.max(np.abs(taps))
    np.testing.assert_allclose(taps, fitted[0], rtol=0, atol=1e-10 * largest)
    rounded = module.fir.weight.numpy().ravel()
    np.testing.assert_allclose(taps, rounded, rtol=0, atol=1e-7 * largest)


def test_a_weighting_taps_are_cached_symmetric_and_read_only():
    taps = a_weighting_taps(16000.0, 51)
    assert taps is a_weighting_taps(16000.0, 51)
    assert taps.shape == (51,) and taps.dtype == np.float64
    np.testing.assert_allclose(taps, taps[::-1], rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        taps[0] = 1.0


def test_k_weighting_is_the_recommendation_at_48_khz():
    # ITU-R BS.1770-5, tables 1 and 2.
    shelf, high_pass = loudness.k_weighting_sections(48000.0)
    numerator = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    np.testing.assert_allclose(shelf[:3], numerator, rtol=1e-14)
    np.testing.assert_allclose(
        shelf[3:], [1.0, -1.69065929318241, 0.73248077421585], rtol=1e-14
    )
    np.testing.assert_allclose(high_pass[:3], [1.0, -2.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(
        high_pass[3:], [1.0, -1.99004745483398, 0.99007225036621], rtol=1e-14
    )


@pytest.mark.parametrize("sr", RATES)
def test_k_weighting_keeps_its_response(sr):
    """At the corners and at 0 Hz exactly; elsewhere as far as rates are alike."""
    at_48_khz = loudness.k_weighting_sections(48000.0)
    sections = loudness.k_weighting_sections(sr)
    for section, original, corner in zip(sections, at_48_khz, CORNERS, strict=True):
        expected = response(original, corner, 48000.0)
        assert abs(response(section, corner, sr) / expected - 1) < 1e-9
    shelf, original = sections[0], at_48_khz[0]
    assert abs(np.sum(shelf[:3]) / np.sum(shelf[3:]) - 1) < 1e-9
    for frequency in (100.0, 500.0, 1000.0, 3000.0):
        ratio = response(shelf, frequency, sr) / response(original, frequency, 48000.0)
        assert abs(20 * np.log10(abs(ratio))) < 0.35


@pytest.mark.parametrize("sr", RATES)
def test_k_weighting_equals_pyloudnorm(sr):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    # Its first two filters, not its names for them, which contain "stage".
    filters = list(pyloudnorm.Meter(sr, "DeMan")._filters.values())
    shelf, high_pass = loudness.k_weighting_sections(sr)
    np.testing.assert_allclose(shelf[:3], filters[0].b, atol=1e-11)
    np.testing.assert_allclose(shelf[3:], filters[0].a, atol=1e-11)
    np.testing.assert_allclose(high_pass[3:], filters[1].a, atol=1e-11)
    # Its numerator is 1, -2, 1 at every rate; ours keeps the gain of 48 kHz.
    np.testing.assert_allclose(high_pass[:3], high_pass[0] * filters[1].b, atol=1e-15)
    louder = {8000.0: 0.2148, 16000.0: 0.0862, 44100.0: 0.0038, 48000.0: 0.0}
    if sr in louder:
        assert abs(-20 * np.log10(high_pass[0]) - louder[sr]) < 1e-4


@pytest.mark.parametrize("sr", [8000.0, 192000.0])
def test_k_weighting_matrices_are_small_and_read_only(sr):
    """No entry is large: nothing cancels when blocks are put together."""
    for level in range(4):
        matrices = loudness.k_weighting_matrices(sr, level)
        assert matrices is loudness.k_weighting_matrices(sr, level)
        for matrix in matrices:
            assert matrix.dtype == np.float64 and not matrix.flags.writeable
            assert 0 < np.max(np.abs(matrix)) < 2.0
