"""A job runs the code that it was submitted with, also in a TaskManager that has run another.

In thread mode all jobs that a TaskManager ever ran share one interpreter. Modules imported by an
earlier job would be found in `sys.modules`, so a redeployed job would go on with the code of the
release before, or fail where that release's files are gone.
"""

import importlib
import os
import sys
from typing import Any

import cloudpickle

PACKAGES = ("jobs", "schemas", "udfs")


class OwnCode:
    """A function that brings the name of its release, and has other releases' modules forgotten.

    `release` is the SHA-256 of the wheel, in hex, with which the name of the folder ends that the
    code lies in; "" leaves modules as they are.
    """

    release = ""

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self)
        state = cloudpickle.dumps(self.__dict__)
        return _load, (self.release, PACKAGES, kind.__module__, kind.__name__, state)


def _load(release: str, packages: tuple[str, ...], module: str, name: str, state: bytes) -> Any:
    """Make the function anew from this job's own modules. Pickled by value: it imports nothing."""
    if release and getattr(sys, "_segstream_release", "") != release:
        sys._segstream_release = release  # type: ignore[attr-defined]
        for found in list(sys.modules):
            # Compiled modules share one more, named by a hash of their names.
            if found.partition(".")[0] in packages or found.endswith("__mypyc"):
                del sys.modules[found]
        for path in [p for p in sys.path if "segstream-" in os.path.basename(p)]:
            sys.path.remove(path)
            if path.endswith(release):
                sys.path.insert(0, path)
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
    kind = getattr(importlib.import_module(module), name)
    function = kind.__new__(kind)
    function.__dict__.update(cloudpickle.loads(state))
    return function


cloudpickle.register_pickle_by_value(sys.modules[__name__])
