"""Classes of the user's own, named as my_module:MyClass. Their code is run, and only when they are named."""

import importlib
import os
import sys
from typing import Any

from gan_rec.errors import UserError


def load_named(path: str, what: str, allowed: str) -> Any:
    """What `path`, "module:name", names.

    Args:
        path: with the module as Python finds it, also in the working directory.
        what: it is, for the message.
        allowed: what else may be given.

    Raises:
        UserError: there is no such module or no such name in it.
    """
    module, _, name = path.partition(":")
    if not (module and name):
        raise UserError(f"unknown {what} {path!r}; {allowed}")
    if "" not in sys.path and os.getcwd() not in sys.path:  # python -m has it, the console script has not
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise UserError(f"{what} {path!r}: cannot import {module!r} ({error}); {allowed}") from error
    except AttributeError as error:
        raise UserError(f"{what} {path!r}: module {module!r} has no {name!r}; {allowed}") from error
