"""How many rows of a batch are evaluated at a time."""

from typing import Literal, TypeAlias

from korvax_eqx._sharding._pieces import rows_within
from korvax_eqx._sharding._segments import Framing

# What a user may ask for: a number of signals, or all.
PieceSize: TypeAlias = int | Literal["auto"] | None
# What a comparison says. "fused" needs no memory of a signal's length, and so no
# pieces, "signals" that of a few signals, and no spectrogram, "dense" spectrograms that
# are much larger than the signal.
Pieces: TypeAlias = PieceSize | Literal["fused", "signals", "dense"]

# Samples of a piece. On CPU the spectra of a piece should stay in the cache: of 1 to
# 16 signals of 44100 samples, pieces of 1 and 2 were fastest (of 2 for the smooth
# loss), and memory grows with the piece. On accelerators a piece must be large enough
# to keep the device busy.
SAMPLES = {"cpu": 90_000, "gpu": 2**22, "tpu": 2**22}
# XLA plans an FFT at every call: on CPU one of 8 signals takes hardly longer than of 2.
_SAMPLES_OF_SIGNALS = {**SAMPLES, "cpu": 360_000}

# With frames that overlap this often, half as many samples: measured on CPU for
# auraloss's resolutions, a quarter of the time of value and gradient.
_DENSE = 6
_SAMPLES_IF_DENSE = {**SAMPLES, "cpu": 45_000}


def piece_size_of(framing: Framing) -> Pieces:
    """Return what the piece size of a spectrogram is, if nobody has given one."""
    is_dense = framing.frame_length >= _DENSE * framing.hop_length
    return "dense" if is_dense else "auto"


def rows_in_piece(n_rows: int, n_samples: int, piece_size: Pieces) -> int:
    """Return how many rows to evaluate at a time."""
    if not isinstance(n_rows, int):
        return 1  # of a symbolic shape, for `jax.export`
    if piece_size in (None, "fused"):
        return max(1, n_rows)
    if isinstance(piece_size, int):
        return min(piece_size, max(1, n_rows))
    kinds = {"signals": _SAMPLES_OF_SIGNALS, "dense": _SAMPLES_IF_DENSE}
    return rows_within(n_rows, n_samples, kinds.get(piece_size or "auto", SAMPLES))
