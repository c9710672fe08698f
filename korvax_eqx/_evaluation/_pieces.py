"""How many rows of a batch are evaluated at a time."""

from typing import Literal, TypeAlias

from korvax_eqx._sharding._pieces import rows_within

# "fused" is of comparisons that need no memory of a signal's length, and so no pieces,
# "signals" of those that need that of a few signals, and no spectrogram.
PieceSize: TypeAlias = int | Literal["auto", "fused", "signals"] | None

# Samples of a piece. On CPU the spectra of a piece should stay in the cache: of 1 to
# 16 signals of 44100 samples, pieces of 1 and 2 were fastest (of 2 for the smooth
# loss), and memory grows with the piece. On accelerators a piece must be large enough
# to keep the device busy.
_SAMPLES = {"cpu": 90_000, "gpu": 2**22, "tpu": 2**22}
# XLA plans an FFT at every call: on CPU one of 8 signals takes hardly longer than of 2.
_SAMPLES_OF_SIGNALS = {**_SAMPLES, "cpu": 360_000}


def rows_in_piece(n_rows: int, n_samples: int, piece_size: PieceSize) -> int:
    """Return how many rows to evaluate at a time."""
    if not isinstance(n_rows, int):
        return 1  # of a symbolic shape, for `jax.export`
    if piece_size in (None, "fused"):
        return max(1, n_rows)
    if isinstance(piece_size, int):
        return min(piece_size, max(1, n_rows))
    samples = _SAMPLES_OF_SIGNALS if piece_size == "signals" else _SAMPLES
    return rows_within(n_rows, n_samples, samples)
