"""NEFTune: against transformers, by its distribution, its laws, and its life inside a model."""

import math

import pytest
import torch
from scipy import stats
from torch import nn
from transformers.integrations.neftune import neftune_post_forward_hook

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert, weights
from ftlab.formulas.neftune import NEFTune, neftune
from ftlab.rule import Now
from ftlab.seeding import derive_seed


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def embedded():
    return torch.randn(3, 7, 16, generator=seeded(9))


def test_the_noise_is_uniform_within_a_bound_worked_by_hand():
    # α = 6, L = 4, d = 9: 6 / √36 = 1
    noise = neftune(torch.zeros(2000, 4, 9), 6.0, seeded()).flatten().double().numpy()
    assert abs(noise).max() <= 1
    assert stats.kstest(noise, stats.uniform(-1, 2).cdf).pvalue > 0.01
    # α = 3, L = 1, d = 4: 3 / 2
    assert 1.49 < neftune(torch.zeros(2000, 1, 4), 3.0, seeded()).abs().max() <= 1.5


@pytest.mark.parametrize("alpha", [0.5, 5.0, 15.0])
def test_it_equals_the_hook_of_transformers(embedded, alpha):
    module = nn.Embedding(2, 16)
    module.neftune_noise_alpha = alpha
    torch.manual_seed(4)
    expected = neftune_post_forward_hook(module, None, embedded)
    torch.manual_seed(4)
    torch.testing.assert_close(neftune(embedded, alpha), expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(expected, embedded)


@pytest.mark.parametrize("shape", [(500, 3, 8), (500, 40, 8), (500, 3, 64)])
def test_the_length_of_a_texts_noise_depends_neither_on_its_tokens_nor_on_the_width(shape):
    lengths = neftune(torch.zeros(shape), 5.0, seeded()).flatten(1).norm(dim=1)
    assert lengths.square().mean().sqrt().item() == pytest.approx(5 / math.sqrt(3), rel=0.03)


def test_strength_zero_is_the_identity_and_draws_nothing_and_a_double_one_doubles(embedded):
    before = torch.get_rng_state()
    assert torch.equal(neftune(embedded, 0), embedded)
    assert torch.equal(torch.get_rng_state(), before)
    once, twice = (neftune(torch.zeros(2, 3, 4), alpha, seeded()) for alpha in (1.0, 2.0))
    assert torch.equal(twice, 2 * once)


def test_the_generator_decides_the_draw(embedded):
    first, again, other = (neftune(embedded, 5.0, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_its_gradient_is_that_of_finite_differences():
    given = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda one: neftune(one, 5.0, seeded()), given)


def test_rule_adds_the_noise_to_the_words_while_the_model_trains_and_only_then():
    net, ids = small_bert(), batch(0)["input_ids"]
    words = net.get_input_embeddings()
    plain = words(ids)
    assert NEFTune(5.0).prepare(net, Now()) is net
    assert torch.equal(words(ids), plain)  # it does not train yet
    net.train()
    torch.manual_seed(3)
    expected = neftune(plain, 5.0)
    torch.manual_seed(3)
    assert torch.equal(words(ids), expected)
    assert torch.equal(net.eval().get_input_embeddings()(ids), plain)


def test_rule_goes_without_a_trace_and_leaves_the_hooks_of_others():
    net = small_bert()
    other = net.get_input_embeddings().register_forward_hook(lambda module, inputs, output: output)
    names = list(net.state_dict())
    NEFTune(5.0).prepare(net, Now())
    NEFTune(1.0).prepare(net, Now())  # a second run on the same model, which replaces the first one's noise
    hooks = list(net.get_input_embeddings()._forward_hooks.values())
    assert [getattr(hook, "alpha", None) for hook in hooks] == [None, 1.0]
    net = NEFTune(5.0).finish(net, None)
    assert list(net.get_input_embeddings()._forward_hooks) == [other.id]
    assert list(net.state_dict()) == names
    NEFTune(0.0).prepare(net, Now())
    assert len(net.get_input_embeddings()._forward_hooks) == 1


def test_real_steps_see_the_noise_of_the_formula():
    state, plain = begun([NEFTune(5.0)]), begun([])
    seen = []
    state.model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: seen.append(output))
    words = state.params["bert.embeddings.word_embeddings.weight"].detach().clone()
    for one in (state, plain):
        go_on(one, 1)
    torch.manual_seed(derive_seed(0, 0))  # the noise is the first thing that a step draws
    expected = neftune(words[batch(0)["input_ids"]], 5.0)
    assert torch.equal(seen[0].detach(), expected)
    new, old = weights(state), weights(plain)
    assert any(not torch.equal(new[name], old[name]) for name in new)


def test_a_model_without_words_is_refused():
    class Imageless(nn.Module):
        def get_input_embeddings(self):
            raise NotImplementedError

    for net in (nn.Linear(2, 2), Imageless()):
        with pytest.raises(
            ArgumentError, match="NEFTune: model must have a word embedding. Got .* Use it with a text model"
        ):
            NEFTune(5.0).prepare(net, Now())


def test_rule_tells_its_strength():
    assert NEFTune(5.0).equation == "X ← X + 5/√(L·d)·ε,  ε ~ U(±1)"
    assert "strength 5 to the embedded tokens during training" in NEFTune(5.0).description
    assert NEFTune(5.0).cautions([]) == []


MUTANTS = (
    ("alpha / math.sqrt(embedded.shape[-2] * embedded.shape[-1])", "alpha / math.sqrt(embedded.shape[-1])"),
    ("2 * torch.rand(", "2 * torch.randn("),
    (".to(embedded) - 1", ".to(embedded)"),
    ("if module.training else output", "if not module.training else output"),
    ("del module._forward_hooks[key]", "pass"),
    ("if isinstance(hook, _Noise)", "if hook"),
)
