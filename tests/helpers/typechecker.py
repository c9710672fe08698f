"""The run-time type checker of the tests, which accepts an `int` for a `float`."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
