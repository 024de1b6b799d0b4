import inspect
import pickle

import pytest

from rasterloom.models import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.RasterloomError)
]
OURS = [cls for cls in CLASSES if cls is not errors.RasterloomError]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_crosses_process_borders_whole(cls):
    back = pickle.loads(pickle.dumps(cls("padding=5 cannot work: use 2.")))
    assert type(back) is cls
    assert str(back) == "padding=5 cannot work: use 2."
    assert back.args == ("padding=5 cannot work: use 2.",)


@pytest.mark.parametrize("cls", OURS)
def test_an_error_is_also_the_builtin_that_the_tree_names(cls):
    line = next(line for line in errors.__doc__.splitlines() if f" {cls.__name__} " in line)
    builtin = line.split("(")[1].split(")")[0]
    assert issubclass(cls, errors.RasterloomError)
    assert issubclass(cls, getattr(__import__("builtins"), builtin))


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_is_documented_and_shows_its_message_alone(cls):
    assert cls.__doc__
    assert str(cls("plain words")) == "plain words"


def test_the_picture_of_the_tree_names_every_class():
    drawn = [line.split("──")[1].split()[0] for line in errors.__doc__.splitlines() if "──" in line]
    assert sorted(drawn) == sorted(cls.__name__ for cls in OURS)


def test_operating_system_errors_keep_their_text():
    for cls in (errors.MissingInputError, errors.ReadError, errors.OutputError, errors.OutputExistsError):
        assert cls("two words").errno is None
        assert str(cls("two words")) == "two words"
