"""An archive of a model writes files outside its folder.

Concerns: fairseq 0.12.2, whose hub interface unpacks ``model.tar.gz`` with the paths that are in it: ``model/../../x``, an
absolute path or a link leads anywhere. And it deletes the archive before it knows that there is one folder to put in its place.

The archive is looked through before anything is written: it may hold files and folders, all of them within one folder.
No longer needed when: ``load_archive_file`` of fairseq refuses such archives.
"""

import contextlib
import shutil
import tarfile
import tempfile
from pathlib import PurePosixPath

from .overlay import Overlay
from .user_errors import is_user_error, user_error

MODULES = ("fairseq.file_utils",)


def after(module):
    """Let fairseq see archives that unpack safely, into a folder that goes again when that fails."""
    folders = []

    def mkdtemp():
        folders.append(tempfile.mkdtemp())
        return folders[-1]

    @contextlib.contextmanager
    def open_archive(name, mode):
        try:
            with _Archive.open(name, mode) as archive:
                archive.check()
                yield archive
        except Exception as error:
            shutil.rmtree(folders.pop(), ignore_errors=True)
            if is_user_error(error):
                raise
            raise user_error(f"cannot unpack {name}: it is damaged, or no archive of tar's ({error})") from error
        folders.pop()

    module.tarfile = Overlay(tarfile, open=open_archive)
    module.tempfile = Overlay(tempfile, mkdtemp=mkdtemp)


class _Archive(tarfile.TarFile):
    # Python's own, too; before 3.11.4 there is none.
    extraction_filter = staticmethod(getattr(tarfile, "data_filter", lambda member, path: member))

    def check(self):
        """Raise a user error unless all is files and folders within one folder."""
        for member in self:
            path = PurePosixPath(member.name)
            if not (member.isfile() or member.isdir()):
                self._refuse(f"{member.name!r} in it is neither a file nor a folder (a link, say)")
            if path.is_absolute() or ".." in path.parts:
                self._refuse(f"{member.name!r} in it leads outside its folder")
        if len({PurePosixPath(name).parts[:1] for name in super().getnames()} - {()}) != 1:
            self._refuse("it must hold one folder, with the model's files in it")
        if not any(member.isfile() and len(PurePosixPath(member.name).parts) > 1 for member in self):
            self._refuse("there is no file in a folder in it")

    def getnames(self):
        """The name of the one folder; fairseq asks for the common beginning of all names."""
        return [next(parts[0] for parts in (PurePosixPath(name).parts for name in super(_Archive, self).getnames()) if parts)]

    def _refuse(self, reason):
        raise user_error(f"refused to unpack {self.name}: {reason}; unpack it yourself if you trust it, and give the folder")
