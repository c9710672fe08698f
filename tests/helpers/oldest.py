"""Print the lower bounds of the dependencies, as requirements, for CI to install."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
for requirement in project["project"]["dependencies"]:
    name, bound = requirement.split(">=")
    print(f"{name}=={bound}")
    if name == "jax":
        print(f"jaxlib=={bound}")
