"""Settings for all tests: strict dtypes and, on demand, checked types."""

import os

# Plots are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Annotated shapes and types are checked at every call of the package. On demand, as
# wrong arguments would then be refused by the checker and not by the package.
if os.environ.get("KORVAX_EQX_TYPECHECK") == "1":
    install_import_hook("korvax_eqx", "typechecker.check")
