"""The command `python -m korvax_eqx`."""

from korvax_eqx._cli._main import main

if __name__ == "__main__":
    raise SystemExit(main())
