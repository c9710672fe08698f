"""Where the frames of a transform lie."""

import dataclasses

# The modes of `jax.numpy.pad` whose padding depends only on the samples next to it.
_LOCAL_MODES = ("constant", "edge", "reflect", "symmetric")


@dataclasses.dataclass(frozen=True)
class Framing:
    """Position of frames: frame t begins at sample `t * hop_length - left`.

    **Arguments:**

    - `hop_length`, `frame_length`: samples.
    - `left`, `right`: largest number of samples padded on each side by `pad_mode`; on
        the right, zeros may follow these.
    - `pad_mode`: how to pad, a mode of `jax.numpy.pad`.
    """

    hop_length: int
    frame_length: int
    left: int
    right: int
    pad_mode: str

    @property
    def is_local(self) -> bool:
        return self.pad_mode in _LOCAL_MODES

    @property
    def is_dense(self) -> bool:
        """Whether frames overlap so much that spectra are much larger than signals."""
        return self.frame_length >= 6 * self.hop_length

    def samples(self, n_frames: int) -> int:
        """Return the number of samples that `n_frames` frames cover."""
        return (n_frames - 1) * self.hop_length + self.frame_length
