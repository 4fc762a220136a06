"""Packaging of the project; ``scripts/setup.sh`` installs it into a virtual environment."""

import platform
from pathlib import Path
from zlib import crc32

from setuptools import Command, Extension, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError

STARTUP = Path("depth_adaptive_fairseq/compat/startup")
NATIVE = Path("depth_adaptive_fairseq/native")
TEMPLATES = Path("data-bin-templates")
# The kernels are compiled once for each of these; which copy runs is decided when they are loaded.
INSTRUCTION_SETS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = [f"-mavx512{part}" for part in ("f", "bw", "dq", "vl", "vnni")]
    INSTRUCTION_SETS["avx512"] += ["-mfma", "-mprefer-vector-width=512"]
    INSTRUCTION_SETS["amx"] = [*INSTRUCTION_SETS["avx512"], "-mamx-tile", "-mamx-int8", "-mamx-bf16"]


SOURCES = sorted(path for path in NATIVE.iterdir() if path.suffix in (".h", ".cpp"))


def kernels(name, flags):
    """The kernels for one instruction set. Without a compiler that takes the flags, PyTorch does their work."""
    return Extension(
        f"depth_adaptive_fairseq.native._kernels_{name}",
        [str(NATIVE / "kernels.cpp")],
        depends=[str(source) for source in SOURCES],
        # So that a copy made from other sources is not called (see kernels.py).
        define_macros=[("SOURCES", str(crc32(b"".join(source.read_bytes() for source in SOURCES))))],
        extra_compile_args=["-std=c++17", "-O3", "-g0", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", *flags],
        extra_link_args=["-fopenmp"],
        language="c++",
        optional=True,
    )


class BuildKernels(build_ext):
    """Compiles the kernels; for one thread where the compiler has no OpenMP, as Apple's has not."""

    def build_extension(self, extension):
        try:
            super().build_extension(extension)
        except CCompilerError:
            extension.extra_link_args.remove("-fopenmp")
            extension.extra_compile_args = ["-fopenmp-simd" if each == "-fopenmp" else each for each in extension.extra_compile_args]
            super().build_extension(extension)


class BuildFiles(Command):
    """Puts into the wheel what lies elsewhere here: at its root what runs at interpreter start, into the package the templates."""

    description = "copy the start-up files to where site-packages will be, and the data templates"
    user_options = []

    def initialize_options(self):
        self.editable_mode = False
        self.build_lib = None

    def finalize_options(self):
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self):
        target = self.build_lib
        if self.editable_mode:  # only what is "installed" already gets into an editable wheel
            target = self.get_finalized_command("install").install_lib
        for source, place in self._files().items():
            self.mkpath(str(Path(target, place).parent))
            self.copy_file(source, str(Path(target, place)))

    def _files(self):
        """Where each goes below site-packages; an editable installation finds the templates where they are."""
        files = {str(STARTUP / name): name for name in (f"depth_adaptive_fairseq{end}" for end in (".pth", "_startup.py"))}
        if not self.editable_mode:
            files.update({str(path): f"depth_adaptive_fairseq/{path.as_posix()}" for path in sorted(TEMPLATES.glob("*/*.yaml"))})
        return files

    def get_source_files(self):
        return list(self._files())

    def get_outputs(self):
        return [str(Path(self.build_lib, place)) for place in self._files().values()]


class Build(build):
    sub_commands = [*build.sub_commands, ("build_files", None)]


setup(
    name="depth_adaptive_fairseq",
    version="0.1.0",
    description="Depth-adaptive Transformer: per-token early exit for fairseq",
    author="the depth_adaptive_fairseq authors",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["depth_adaptive_fairseq", "depth_adaptive_fairseq.*"]),
    # Naming the root makes an editable install a mere path entry. The default, a finder of
    # setuptools' own, costs every start of Python several times what our start-up code does.
    package_dir={"": "."},
    package_data={"depth_adaptive_fairseq": ["config/*.yaml"], "depth_adaptive_fairseq.native": ["*.h", "*.cpp"]},
    entry_points={"console_scripts": ["depth-adaptive = depth_adaptive_fairseq.commands:main"]},
    ext_modules=[kernels(*each) for each in INSTRUCTION_SETS.items()],
    cmdclass={"build": Build, "build_ext": BuildKernels, "build_files": BuildFiles},
    install_requires=[
        "fairseq==0.12.2",
        "hydra-core==1.0.7",
        "omegaconf==2.0.6",
        "torch>=2.6,<3",
        "numpy>=1.26,<3",
        "PyYAML>=6",
        "sacrebleu>=2.3,<3",
        "sacremoses>=0.1",
        "sentencepiece>=0.2",
        "tabulate>=0.9",
        "tqdm>=4.65",
    ],
    extras_require={
        "test": ["pytest>=9", "pytest-timeout>=2.3", "pytest-xdist>=3.3", "ruff==0.17.6", "hypothesis>=6.80", "setuptools>=70.1"],
        # The commands need no more than the above, but for pictures, the generated corpus and a comparison with CTranslate2.
        "quickstart": ["Babel>=2.12", "num2words>=0.5.13", "matplotlib>=3.7"],
        "benchmark": ["ctranslate2>=4.4"],
    },
)
