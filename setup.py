"""The compiled part of uncv; all the rest is in pyproject.toml.

The extensions are plain shared libraries, loaded by ctypes: they need a C++17 compiler but no
headers of Python or torch. Where they do not compile, uncv installs without them and runs in plain
torch. One source is compiled for any processor and for those with AVX2; ``uncv.models.kernel``
takes what the machine can run.
"""

import platform

from setuptools import Extension, setup

# Not -ffast-math: not-a-number must stay not-a-number, and linking with it would change how the
# whole process treats tiny numbers.
OPTIONS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-pthread"]
VARIANTS = {"_kernel": []}
if platform.machine() in ("x86_64", "AMD64"):
    VARIANTS["_kernel_avx2"] = ["-mavx2", "-mfma"]

setup(
    ext_modules=[
        Extension(
            f"uncv.models.{name}",
            sources=["uncv/models/kernel.cpp"],
            extra_compile_args=OPTIONS + instructions,
            extra_link_args=["-pthread"],
            optional=True,
        )
        for name, instructions in VARIANTS.items()
    ]
)
