"""All checks of a change, one after the other: linter, types, fast tests. Options go to pytest: python checks.py -x."""

import subprocess
import sys

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-q"),
)


def main() -> int:
    """Run them, and stop at the first that fails."""
    for check in CHECKS:
        command = [*check, *sys.argv[1:]] if check[0] == "pytest" else check
        print("==", " ".join(command), flush=True)
        if code := subprocess.run([sys.executable, "-m", *command]).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
