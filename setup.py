"""Puts the default model into the wheel; all else about the package stands in pyproject.toml."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))
from nuclei.common import DEFAULT_MODEL


class BuildWithModel(build_py):
    """Copies the default model to where `nuclei.common.model_folder` finds it in an installed library."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "nuclei", DEFAULT_MODEL)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(DEFAULT_MODEL, target)


setup(cmdclass={"build_py": BuildWithModel})
