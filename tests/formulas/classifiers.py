"""Tiny classifiers of plain inputs, and rows for them."""

import torch
from torch import nn

from tests.formulas.laws import seeded


class Linear(nn.Module):
    """Scores of four inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.drop = nn.Linear(4, 3), nn.Dropout(0.5)

    def forward(self, inputs):
        return self.layer(self.drop(inputs))


def rows(count=6):
    """Return rows of four inputs in three classes."""
    inputs = torch.randn(count, 4, generator=seeded(1))
    return {"inputs": inputs, "labels": torch.arange(count) % 3}


class Mlp(nn.Module):
    """Two layers with a tanh in between."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(self.first(x).tanh())
