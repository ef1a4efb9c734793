"""Puts into the package what it shares with the Rust server, unchanged: the component that `cargo xtask component` wrote,
and the scripts of the store in Redis.
"""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
ROOTS = HERE.parents[2:3]


def first(*places: Path) -> "Path | None":
    return next((place for place in places if place.exists()), None)


class BuildWithComponent(build_py):
    def run(self) -> None:
        super().run()
        component = first(HERE / "rejoin_core/rejoin.wasm", *(root / "target/rejoin.wasm" for root in ROOTS))
        if component is None:
            raise SystemExit("no component: run `cargo xtask component` first, in the checkout that this package stands in")
        scripts = first(HERE / "rejoin_core/redis/scripts", *(root / "host/src/store/redis/scripts" for root in ROOTS))
        if scripts is None:
            raise SystemExit("no scripts for Redis: install this package from the checkout that it stands in")
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "rejoin_core"
        copyfile(component, package / "rejoin.wasm")
        (package / "redis/scripts").mkdir(exist_ok=True)
        for script in scripts.glob("*.lua"):
            copyfile(script, package / "redis/scripts" / script.name)


setup(cmdclass={"build_py": BuildWithComponent})
