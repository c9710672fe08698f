"""Degradations of sounds, from hardly audible to ruinous: codecs, noise, filters."""

import functools
import io
from collections.abc import Callable

import numpy as np
import soundfile
import soxr
from _excerpts import SR
from jaxtyping import Float
from scipy.signal import ShortTimeFFT, firwin
from scipy.signal.windows import hann

Signal = Float[np.ndarray, " n_samples"]
Degradation = Callable[[Signal], Signal]

# Left out of the agreement with measures of quality: the measures used here align
# levels, none is made for another pitch, and resampling is inaudible.
NOT_JUDGED = ("-6 dB", "1 semitone up", "resampled to 44.1 kHz and back")


def families() -> dict[str, dict[str, Degradation]]:
    """Return degradations by family and name; within a family each is worse than the
    last."""
    part = functools.partial
    return {
        "MP3": {f"MP3 {r} kbit/s": part(mp3, rate=r) for r in (160, 96, 64, 40)},
        "Opus": {f"Opus {r} kbit/s": part(opus, rate=r) for r in (96, 48, 24, 12)},
        "noise": {
            f"noise, SNR {s} dB": part(noise, snr=s) for s in (50, 40, 30, 20, 10)
        },
        "low-pass": {
            f"low-pass {f} kHz": part(low_pass, cutoff=f) for f in (12, 7, 3.5)
        },
        "clipping": {
            f"clipped at {c} of the peak": part(clip, at=c) for c in (0.5, 0.25, 0.1)
        },
        "level": {NOT_JUDGED[0]: lambda x: 0.5 * x},
        "pitch": {NOT_JUDGED[1]: part(shift_pitch, semitones=1)},
        "resampling": {NOT_JUDGED[2]: part(resample, rate=44_100)},
    }


def without_codecs() -> str:
    """Return why MP3 and Opus cannot be coded here; empty if they can."""
    if "MP3" not in soundfile.available_formats():
        return f"libsndfile {soundfile.__libsndfile_version__} writes no MP3"
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        return f"libsndfile {soundfile.__libsndfile_version__} writes no Opus"
    try:
        mp3(np.zeros(SR, np.float32), 96)
    except (TypeError, RuntimeError) as error:  # soundfile before 0.13: no argument
        return f"soundfile {soundfile.__version__} sets no bit rate ({error})"
    return ""


def mp3(x: Signal, rate: int) -> Signal:
    """LAME at a constant bit rate in kbit/s, mono."""
    # libsndfile's scale of compression runs from 320 to 32 kbit/s.
    level = (320 - rate) / (320 - 32)
    return _coded(
        x,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=level,
        bitrate_mode="CONSTANT",
    )


def opus(x: Signal, rate: int) -> Signal:
    """libopus at about this bit rate in kbit/s, mono."""
    # libsndfile's scale of compression runs from 256 to 6 kbit/s a channel.
    level = (256 - rate) / (256 - 6)
    return _coded(x, format="OGG", subtype="OPUS", compression_level=level)


def _coded(x: Signal, **options: str | float) -> Signal:
    file = io.BytesIO()
    soundfile.write(file, x, SR, **options)
    file.seek(0)
    y, rate = soundfile.read(file)
    y = soxr.resample(y, rate, SR)
    return _aligned(y, x)


def _aligned(y: Signal, x: Signal) -> Signal:
    """Shift `y` to where it correlates best with `x`: a decoder may leave its delay."""
    reach = 4096
    n = len(x) + len(y)
    products = np.fft.rfft(y, n) * np.conj(np.fft.rfft(x, n))
    correlation = np.fft.irfft(products, n)
    lags = np.r_[0:reach, -reach:0]
    lag = lags[np.argmax(correlation[lags])]
    y = y[lag:] if lag >= 0 else np.pad(y, (-lag, 0))
    return np.pad(y, (0, max(0, len(x) - len(y))))[: len(x)]


def noise(x: Signal, snr: float) -> Signal:
    """White noise, `snr` dB below the mean power of the sound."""
    rng = np.random.default_rng(0)
    return x + 10 ** (-snr / 20) * np.std(x) * rng.standard_normal(len(x))


def low_pass(x: Signal, cutoff: float) -> Signal:
    """A filter of linear phase, without delay; `cutoff` in kHz."""
    taps = firwin(511, cutoff * 1000, fs=SR)
    return np.convolve(x, taps, mode="same")


def clip(x: Signal, at: float) -> Signal:
    """Cut off at this fraction of the peak."""
    limit = at * np.max(np.abs(x))
    return np.clip(x, -limit, limit)


def resample(x: Signal, rate: int) -> Signal:
    """To another sample rate and back, by soxr."""
    y = soxr.resample(soxr.resample(x, SR, rate), rate, SR)
    return np.pad(y, (0, max(0, len(x) - len(y))))[: len(x)]


def shift_pitch(x: Signal, semitones: float) -> Signal:
    """Move the pitch and keep the tempo: a phase vocoder, then another sample rate."""
    ratio = 2.0 ** (semitones / 12)
    n_fft, hop = 2048, 256
    stft = ShortTimeFFT(hann(n_fft, sym=False), hop, SR)
    S = stft.stft(x)
    at = np.arange(0, S.shape[1] - 1, 1 / ratio)
    before, weight = at.astype(int), at % 1
    magnitude = np.abs(S)
    magnitude = magnitude[:, before] * (1 - weight) + magnitude[:, before + 1] * weight
    # Each bin advances by what it advances between the two frames, near its centre.
    centre = 2 * np.pi * hop * np.arange(len(S))[:, None] / n_fft
    advance = np.diff(np.angle(S), axis=1) - centre
    advance = centre + (advance + np.pi) % (2 * np.pi) - np.pi
    steps = advance[:, before[:-1]]
    phase = np.angle(S[:, :1]) + np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
    slow = stft.istft(magnitude * np.exp(1j * phase))
    y = soxr.resample(slow, SR * ratio, SR)
    return np.pad(y, (0, max(0, len(x) - len(y))))[: len(x)]
