"""Memory is kept between steps and given back after them."""

import resource

import pytest
import torch

from ftlab.engines.fast import malloc


def faults(updates):
    """Return how many pages the system has cleared for this process while something ran."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    updates()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_is_kept_between_steps_and_given_back_after_them():
    def some_steps():
        for _ in range(20):
            torch.empty(12_000_000).fill_(1)

    if not malloc.can_keep():
        with malloc.kept_memory():
            some_steps()
        pytest.skip("the allocator is not glibc's")
    pages = 12_000_000 * 4 // resource.getpagesize()
    with malloc.kept_memory():
        some_steps()
        assert faults(some_steps) < pages / 10
    assert faults(some_steps) > pages / 2
