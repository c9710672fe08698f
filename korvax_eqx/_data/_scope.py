"""What one number of a part's output depends on, from the narrowest to the widest."""

from typing import Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["value", "frame", "signal", "channels", "batch"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
