"""Settings for all tests: strict dtypes, checked types, a fixed seed."""

import os

# Plots are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")
# Annotated shapes and types are checked at run time, at every call of the package.
install_import_hook("korvax_eqx", "beartype.beartype")
