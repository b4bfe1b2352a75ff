"""The compiled part of uncv; all the rest is in pyproject.toml.

The extensions are plain shared libraries, loaded by ctypes: they need a C++17 compiler but no
headers of Python or torch. Where they do not compile, uncv installs without them and runs in plain
torch. One source is compiled for any processor and for those with AVX2; ``uncv.models.kernel``
takes what the machine can run.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Not -ffast-math: not-a-number must stay not-a-number, and linking with it would change how the
# whole process treats tiny numbers.
OPTIONS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-pthread"]
VARIANTS = {"_kernel": []}
if platform.machine() in ("x86_64", "AMD64"):
    VARIANTS["_kernel_avx2"] = ["-mavx2", "-mfma"]


class NewFiles(build_ext):
    """Puts libraries down as new files: one written over would crash the runs that use it."""

    def copy_extensions_to_source(self) -> None:
        """Take away what an editable install put down before."""
        for old in Path("uncv/models").glob("_kernel*.so"):
            old.unlink()
        super().copy_extensions_to_source()

    def build_extension(self, extension: Extension) -> None:
        """Build into a file that is not there yet."""
        Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
        super().build_extension(extension)


setup(
    cmdclass={"build_ext": NewFiles},
    ext_modules=[
        Extension(
            f"uncv.models.{name}",
            sources=["uncv/models/kernel.cpp"],
            extra_compile_args=OPTIONS + instructions,
            extra_link_args=["-pthread"],
            optional=True,
        )
        for name, instructions in VARIANTS.items()
    ],
)
