"""Packaging of the project; ``scripts/setup.sh`` installs it into a virtual environment."""

from pathlib import Path

from setuptools import Command, find_packages, setup
from setuptools.command.build import build

STARTUP = Path("depth_adaptive_fairseq/compat/startup")


class BuildStartup(Command):
    """Puts the files that run at interpreter start into the root of the wheel."""

    description = "copy the start-up files to where site-packages will be"
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
        self.mkpath(target)
        for source in self.get_source_files():
            self.copy_file(source, target)

    def get_source_files(self):
        return [str(STARTUP / f"depth_adaptive_fairseq{end}") for end in (".pth", "_startup.py")]

    def get_outputs(self):
        return [str(Path(self.build_lib, Path(source).name)) for source in self.get_source_files()]


class Build(build):
    sub_commands = [*build.sub_commands, ("build_startup", None)]


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
    package_data={"depth_adaptive_fairseq": ["config/*.yaml"]},
    cmdclass={"build": Build, "build_startup": BuildStartup},
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
        "test": ["pytest>=7.4", "pytest-xdist>=3.3", "hypothesis>=6.80", "setuptools>=70.1"],
        "quickstart": ["Babel>=2.12", "num2words>=0.5.13", "matplotlib>=3.7"],
        "benchmark": ["ctranslate2>=4.4"],
    },
)
