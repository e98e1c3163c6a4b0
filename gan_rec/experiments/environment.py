"""What a run was made with."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import gan_rec

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "pandas")


def environment(data_sha256: Any) -> dict:
    """Versions, device, sha256 of the data's files, and the git revision of gan_rec (None outside a checkout)."""
    return {
        "gan_rec": gan_rec.__version__,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "device": {"kind": jax.devices()[0].device_kind, "count": jax.device_count(), "cpus": os.cpu_count()},
        "data_sha256": data_sha256,
    }


def version_text() -> str:
    """The version, and what a report of a bug should say of the environment."""
    found = environment(None)
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    lines = [
        gan_rec.__version__,
        f"revision: {found['git_revision'] or 'none, this is no checkout'}",
        f"python: {found['python']} on {found['platform']}",
        f"packages: {packages}",
        f"devices: {device_text(found['device'])}",
    ]
    return "\n".join(lines)


def device_text(device: dict[str, Any]) -> str:
    """What `environment` knows of the device, for people."""
    return f"{device['count']} {device['kind']}, {device['cpus']} CPU cores"


def _git_revision() -> str | None:
    root = Path(gan_rec.__file__).parent.parent
    if not (root / ".git").exists():  # else the revision of whatever surrounds an installed package would be named
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
