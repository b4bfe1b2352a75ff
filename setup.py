"""The compiled part of uncv; all the rest is in pyproject.toml.

The extension is a plain shared library, loaded by ctypes: it needs a C++17 compiler but no headers
of Python or torch. Where it does not compile, uncv installs without it and runs in plain torch.
"""

from setuptools import Extension, setup

COMPILE = [
    "-std=c++17",
    "-O3",
    # As fast as -ffast-math here, but not-a-number stays not-a-number and loading the library
    # leaves the process's treatment of tiny numbers alone.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
    "-Wno-psabi",
    "-pthread",
]

setup(
    ext_modules=[
        Extension(
            "uncv.models._kernel",
            sources=["uncv/models/kernel.cpp"],
            extra_compile_args=COMPILE,
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
