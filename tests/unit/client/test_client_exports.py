"""What the package promises to export, no more and no less."""

import inspect
from types import ModuleType

import durachart_client
from durachart_client import errors, models


def test_all_is_what_the_package_holds() -> None:
    held = {
        name
        for name, value in vars(durachart_client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(durachart_client.__all__) == held
    assert durachart_client.__all__ == sorted(durachart_client.__all__)


def test_every_error_and_every_value_is_exported() -> None:
    for module in (errors, models):
        own = {
            name
            for name, value in inspect.getmembers(module, inspect.isclass)
            if value.__module__ == module.__name__
        }
        assert own <= set(durachart_client.__all__), own - set(durachart_client.__all__)


def test_every_error_says_what_it_means() -> None:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.ClientError):
            assert (kind.__doc__ or "").strip().splitlines()[0].endswith((".", "back.")), kind
