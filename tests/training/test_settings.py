"""The arguments of a run are the same wherever they stand, and are checked before any work."""

import inspect
from dataclasses import fields

import pytest

import ftlab
from ftlab import cli
from ftlab.errors import ArgumentError
from ftlab.training.settings import Settings

DEFAULTS = {one.name: one.default for one in fields(Settings)}


def test_finetune_has_every_setting_with_its_default_in_the_same_order():
    signature = inspect.signature(ftlab.finetune).parameters
    assert {name: one.default for name, one in signature.items() if name in DEFAULTS} == DEFAULTS
    assert [name for name in signature if name in DEFAULTS] == list(DEFAULTS)


def test_the_command_line_has_every_setting_that_text_can_give_with_its_default():
    options = {name: one.default for name, one in inspect.signature(cli.finetune).parameters.items()}
    assert DEFAULTS.keys() - options.keys() == {"recipe", "loss", "step"}  # rules are named by --rule
    assert all(options[name] == default for name, default in DEFAULTS.items() if name in options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"device": "gpu"}, "device must be one of"),
        ({"engine": "warp"}, "engine must be one of"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"seed": (1, 2, 3)}, "seed must be one whole number or two"),
        ({"accumulate": 9, "batch_size": 8}, "accumulate must be at most batch_size, 8"),
        ({"loss": 3}, "loss must be a function"),
    ],
)
def test_invalid_settings_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        Settings(**arguments)


def test_a_device_that_is_not_there_is_refused_before_the_data_are_read(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["finetune", "--data", str(tmp_path / "none.csv"), "--device", "gpu"])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: finetune: device must be one of")
    assert said.out == ""
