"""A reader's rule on trial: examined first, then paired seeds, then a verdict in words."""

from dataclasses import dataclass

import pytest
import torch

import ftlab
from ftlab.errors import Misused
from ftlab.models import load_model
from ftlab.rule import Project
from ftlab.trying import trial


@dataclass(frozen=True)
class Shrink(Project):
    """A reader's rule, three lines."""

    share: float = 0.001

    def project(self, params, memory, now):
        return {name: (1 - self.share) * param for name, param in params.items()}, memory


@dataclass(frozen=True)
class Spoil(Project):
    """A rule that breaks the contract: it changes what it is given."""

    def project(self, params, memory, now):
        for param in params.values():
            param.add_(1)
        return {}, memory


HOW = {"pairs": 3, "rows": 40, "epochs": 6, "lr": 1e-2, "batch_size": 8}


def test_a_rule_that_breaks_the_contract_is_told_so_and_nothing_is_trained(small, bert):
    found = trial(Spoil(), small, load_model(bert, small), **HOW)
    assert found.verdict == "refused"
    assert found.without == ()
    assert "does not keep the contract" in str(found)
    assert "must not change what it is given" in str(found)


def test_a_rule_that_wipes_the_weights_out_is_seen_to_hurt(small, bert):
    found = trial(Shrink(1.0), small, load_model(bert, small), **HOW)
    assert min(found.without) > 0.8
    assert found.verdict == "worse"
    assert found.found.high < 0
    assert "It hurts" in str(found)
    assert "<td>0</td>" in found._repr_html_()


def test_a_rule_that_does_nothing_gives_equal_pairs(small, bert):
    found = trial(Shrink(0.0), small, load_model(bert, small), **HOW)
    assert found.without == found.with_it
    assert "did the accuracy differ at all" in str(found)


def test_the_arms_share_everything_but_the_rule(small, bert):
    model = load_model(bert, small)
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    names = set(small)
    found = trial("ClipNorm(0.01)", small, model, pairs=2, rows=40, epochs=1, lr=1e-2, batch_size=8)
    for seed, with_it in enumerate(found.with_it):
        run = ftlab.finetune(
            model,
            {"train": small["train"].shuffle(seed=0), "test": small["test"]} | {},
            seed=seed, recipe=["ClipNorm(0.01)"], epochs=1, lr=1e-2, batch_size=8, progress=False,
        )  # fmt: skip
        assert run.metrics["accuracy"] == with_it
    assert set(small) == names
    assert all(torch.equal(before[name], tensor) for name, tensor in model.net.state_dict().items())


def test_it_stops_when_the_time_is_used_up_but_not_before_three_pairs(small, bert):
    found = trial(Shrink(), small, load_model(bert, small), minutes=1e-6, rows=40, epochs=1)
    assert len(found.without) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"minutes": 0}, "trial: minutes must be a number greater than 0"),
        ({"pairs": 1}, "trial: pairs must be a whole number of at least 2"),
        ({"rows": 1}, "trial: rows must be a whole number of at least 2"),
        ({"seed": 3}, "trial: seed must be left out"),
        ({"recipe": []}, "trial: recipe must be left out"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(arguments, said):
    with pytest.raises(Misused, match=said):
        trial(Shrink(), "no data of this name", **arguments)
