"""Synthetic sounds whose pitch, level, time and timbre are parameters.

Plucked strings, struck bars and bells, and sung vowels: `drawn` makes as many of each
as wanted, with random fundamentals. Steady tones: `as_sound`.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from _tones import N_SAMPLES, SAMPLE_RATE, Tone
from jaxtyping import Array, Float

# Centres and widths of formants in Hz: an adult man's after Peterson and Barney (1952),
# widths and the fourth after Klatt (1980).
VOWELS = {
    "i": ((270, 60), (2290, 100), (3010, 120), (3500, 150)),
    "e": ((530, 70), (1840, 100), (2480, 120), (3500, 150)),
    "a": ((730, 80), (1090, 90), (2440, 120), (3500, 150)),
    "o": ((570, 70), (840, 80), (2410, 120), (3500, 150)),
    "u": ((300, 60), (870, 90), (2240, 120), (3500, 150)),
    "ae": ((660, 80), (1720, 100), (2410, 120), (3500, 150)),
}
# Modes of a bar that is free at both ends, and of a bell, as multiples of the lowest.
MODES = {
    "bar": (1.0, 2.756, 5.404, 8.933),
    "bell": (1.0, 2.0, 2.4, 3.0, 4.0, 5.33),
}
# Seconds before a plucked or struck sound begins; before one that is moved in time.
_BEGIN, _MOVED = 0.06, 0.25
_RISE = 0.002


@dataclasses.dataclass(frozen=True)
class Sound:
    """Partials at `ratios` times a fundamental, with an envelope.

    `decay` is "none", "modes" (3 per second, faster for higher partials) or "string":
    that of Karplus and Strong (1983), whose filter, the mean of two samples, damps a
    partial at f Hz by cos(pi f / sample rate) in each period.
    """

    name: str
    family: str
    frequency: float
    ratios: tuple[float, ...]
    amplitudes: tuple[float, ...]
    formants: tuple[tuple[float, float], ...] = ()
    decay: str = "none"

    def __call__(
        self,
        phases: Float[Array, " partials"],
        *,
        octaves: Array | float = 0.0,
        decibels: Array | float = 0.0,
        shift: Array | float = 0.0,
        onset: Array | float = 0.0,
        timbre: Array | float = 0.0,
        is_moved: bool = False,
    ) -> Float[Array, " n_samples"]:
        """The waveform, 0.5 s at 16 kHz.

        **Arguments:**

        - `phases`: of the partials at the beginning of the sound.
        - `octaves`, `decibels`: pitch and level, relative.
        - `shift`: how much later the whole sound is, ms.
        - `onset`: how much later only the envelope is, ms.
        - `timbre`: of vowels, formants in semitones; of others, the slope of the
            spectrum in dB per octave, at the same power.
        - `is_moved`: whether it begins in the middle: a steady tone has no time.
        """
        frequency = self.frequency * 2.0 ** jnp.asarray(octaves)
        ratios = jnp.asarray(self.ratios)
        partials = frequency * ratios
        fade = jnp.clip((0.5 * SAMPLE_RATE - partials) / 500.0, 0.0, 1.0)
        plain = jnp.asarray(self.amplitudes) * fade
        power = jnp.sum(jnp.square(plain))
        if self.formants:
            amplitudes = plain * self._resonance(partials, timbre)
            power = 0.25
        else:
            amplitudes = plain * ratios ** (timbre / (20 * np.log10(2)))
        amplitudes *= jnp.sqrt(power / jnp.sum(jnp.square(amplitudes)))
        time = jnp.arange(N_SAMPLES) / SAMPLE_RATE
        if self.decay == "none" and not is_moved:
            angles = 2 * jnp.pi * partials[:, None] * time + phases[:, None]
            return 10 ** (decibels / 20) * (amplitudes @ jnp.sin(angles))
        time = time - (_MOVED if is_moved else _BEGIN) - shift / 1000
        since = time - onset / 1000
        rates = self._rates(frequency, partials)
        envelopes = jnp.exp(-rates[:, None] * jnp.maximum(since, 0.0))
        angles = 2 * jnp.pi * partials[:, None] * time + phases[:, None]
        sound = amplitudes @ (envelopes * jnp.sin(angles))
        return 10 ** (decibels / 20) * jax.nn.sigmoid(since / _RISE) * sound

    def phases(self, seed: int) -> Float[Array, " partials"]:
        """Random phases."""
        rng = np.random.default_rng(seed)
        return jnp.asarray(rng.uniform(0, 2 * np.pi, len(self.ratios)), jnp.float32)

    def _resonance(self, partials: Array, semitones: Array | float) -> Array:
        """The gain of the formants, in series."""
        gain = jnp.ones_like(partials)
        for centre, width in self.formants:
            centre = centre * 2.0 ** (semitones / 12.0)
            distance = jnp.square(centre) - jnp.square(partials)
            gain *= centre**2 / jnp.hypot(distance, width * partials)
        return gain

    def _rates(self, frequency: Array, partials: Array) -> Array:
        """How fast partials decay, per second."""
        if self.decay == "string":
            angles = jnp.pi * jnp.minimum(partials, 0.49 * SAMPLE_RATE) / SAMPLE_RATE
            return jnp.minimum(-frequency * jnp.log(0.997 * jnp.cos(angles)), 400.0)
        if self.decay == "modes":
            return 3.0 * jnp.sqrt(jnp.asarray(self.ratios))
        return jnp.full_like(partials, 4.0)


def as_sound(tone: Tone) -> Sound:
    """A steady tone."""
    return Sound(tone.name, "tones", tone.frequency, tone.ratios, tone.amplitudes)


def drawn(seed: int, n: int, vowels: Sequence[str] = tuple(VOWELS)) -> list[Sound]:
    """Draw `n` plucked strings, `n` struck bars and bells, and `n` sung vowels."""
    rng = np.random.default_rng(seed)

    def between(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.uniform())

    sounds = []
    for _ in range(n):
        # The burst of noise in the string at the beginning has random partials.
        f, k = between(80, 400), np.arange(1, 40)
        burst = tuple(np.abs(0.3 * rng.standard_normal(len(k))).tolist())
        numbers = tuple(map(float, k))
        name = f"string {f:.0f}"
        sounds.append(Sound(name, "strings", f, numbers, burst, decay="string"))
    for i in range(n):
        f, (kind, modes) = between(100, 400), list(MODES.items())[i % len(MODES)]
        amplitudes = tuple((0.5 * np.exp(-0.3 * np.arange(len(modes)))).tolist())
        name = f"{kind} {f:.0f}"
        sounds.append(Sound(name, "bars", f, modes, amplitudes, decay="modes"))
    for i in range(n):
        # A glottal source falls by 12 dB per octave, and lips add 6.
        vowel, f = vowels[i % len(vowels)], between(100, 280)
        numbers = tuple(map(float, range(1, 161)))
        source = tuple(1 / k for k in numbers)
        name = f"/{vowel}/ {f:.0f}"
        sounds.append(Sound(name, "vowels", f, numbers, source, VOWELS[vowel]))
    return sounds
