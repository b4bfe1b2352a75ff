"""What pyproject.toml cannot say: the compiled part of uncv, and the sources of the PLUMED plugin.

The extensions are plain shared libraries, loaded by ctypes: they need a C++17 compiler but no
headers of Python or torch. Where they do not compile, uncv installs without them and runs in plain
torch. The sources are compiled for any processor, for those with AVX2 and for those with AVX-512;
``uncv.models.library`` takes what the machine can run.

The plugin is not compiled here: it needs PLUMED's headers. Its sources travel inside the package,
for ``uncv plugin build``.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# Not -ffast-math: not-a-number must stay not-a-number, and linking with it would change how the
# whole process treats tiny numbers.
OPTIONS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-pthread"]
VARIANTS = {"_kernel": []}
if platform.machine() in ("x86_64", "AMD64"):
    VARIANTS["_kernel_avx2"] = ["-mavx2", "-mfma"]
    VARIANTS["_kernel_avx512"] = [
        "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma",
        "-mprefer-vector-width=512",
    ]  # fmt: skip

PARTS = ["curvature", "kernel", "neighbours", "pairs", "readout"]
PLUGIN = sorted(str(p) for p in Path("plugin").iterdir() if p.suffix in (".cpp", ".h", ".txt"))


class WithPlugin(build_py):
    """Puts the sources of the plugin into the package; a checkout uses them where they are."""

    def run(self) -> None:
        """Copy the modules, then the sources."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "uncv", "plugin", "source")
            self.mkpath(str(folder))
            for file in PLUGIN:
                self.copy_file(file, str(folder / Path(file).name))

    def get_source_files(self) -> list[str]:
        """Name what a source distribution must hold."""
        return [*super().get_source_files(), *PLUGIN]


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
    cmdclass={"build_ext": NewFiles, "build_py": WithPlugin},
    ext_modules=[
        Extension(
            f"uncv.models.{name}",
            sources=[f"uncv/models/{part}.cpp" for part in PARTS],
            depends=["uncv/models/descriptor.h", "uncv/models/vectors.h"],
            extra_compile_args=OPTIONS + instructions,
            extra_link_args=["-pthread"],
            optional=True,
        )
        for name, instructions in VARIANTS.items()
    ],
)
