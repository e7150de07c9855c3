"""The method, by numbers."""

import math

import numpy as np
import pytest
import torch
from _panels import architecture

from tsmae.nn import TimeMAE, blocks
from tsmae.nn.masking import draw_mask, n_masked_of, places_of, take
from tsmae.nn.series import average_down, jitter
from tsmae.nn.tokenizer import LearnedTokenizer
from tsmae.panel import Panel
from tsmae.training.loops import evaluate_pretext
from tsmae.training.randomness import new_generator

DEFAULTS = {
    "block": "pre_norm",
    "stem": "conv",
    "window_statistics": True,
    "tokenizer": "random_projection",
    "n_codebooks": 2,
}


def build(**settings) -> TimeMAE:
    small = {"d_model": 16, "n_heads": 2, "n_layers": 2, "n_decoupled_layers": 2}
    config = architecture(
        **{"n_channels": 3, "n_positions": 10, "window_length": 4, "n_codewords": 12}
        | small
        | settings
    )
    model = TimeMAE(config, new_generator(0))
    for block in [m for m in model.modules() if hasattr(m, "scale_1")]:
        block.scale_1.data.fill_(0.7)  # else every block starts as a bare norm
        block.scale_2.data.fill_(0.7)
    return model


@pytest.fixture(params=[{}, DEFAULTS], ids=["paper", "defaults"])
def model(request):
    return build(**request.param)


@pytest.fixture
def x():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3, 40))).float()


class Spy:
    """Records the inputs and outputs of a module."""

    def __init__(self, module):
        self.inputs, self.outputs = [], []
        module.register_forward_hook(self)

    def __call__(self, module, inputs, output):
        self.inputs.append(inputs)
        self.outputs.append(output)


# ---------------------------------------------------------------------------- masking


@pytest.mark.parametrize("ratio", [0.01, 0.15, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("n", [2, 3, 5, 10, 16, 97])
def test__draw_mask__any_length_and_ratio__floor_clamped(n, ratio):
    valid = torch.ones(20, n, dtype=torch.bool)
    masked = draw_mask(valid, ratio, new_generator(0))
    expected = min(max(math.floor(round(ratio * n, 9)), 1), n - 1)
    assert (masked.sum(1) == expected).all()
    assert n_masked_of(n, ratio) == expected


def test__draw_mask__paper_setting__nine_of_sixteen():
    assert n_masked_of(16, 0.6) == 9
    assert n_masked_of(100, 0.29) == n_masked_of(50, 0.58) == 29  # 28.999… in floating point


def test__draw_mask__unequal_lengths__follows_each_series():
    lengths = torch.tensor([10, 7, 2, 1])
    valid = torch.arange(10) < lengths[:, None]
    masked = draw_mask(valid, 0.6, new_generator(0))
    assert masked.sum(1).tolist() == [6, 4, 1, 0]
    assert not (masked & ~valid).any()


def test__draw_mask__per_series_or_per_batch__positions_differ_or_agree():
    valid = torch.ones(50, 16, dtype=torch.bool)
    own = draw_mask(valid, 0.6, new_generator(0), "series")
    shared = draw_mask(valid, 0.6, new_generator(0), "batch")
    assert len(own.unique(dim=0)) > 40
    assert len(shared.unique(dim=0)) == 1


def test__draw_mask__many_draws__uniform_and_fresh():
    generator = new_generator(0)
    valid = torch.ones(4000, 8, dtype=torch.bool)
    first, second = (draw_mask(valid, 0.5, generator) for _ in range(2))
    assert not torch.equal(first, second)
    np.testing.assert_allclose(first.float().mean(0), 0.5, atol=0.04)


def test__take__equal_and_unequal_counts__same_rows_in_order():
    x = torch.arange(12.0).view(2, 6, 1)
    selected = torch.tensor([[0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1]]).bool()
    places, present = places_of(selected, 2)
    assert present is None
    assert take(x, places).squeeze(-1).tolist() == [[1, 2], [6, 11]]
    selected[0, 5] = True
    places, present = places_of(selected)
    assert present.tolist() == [[True] * 3, [True, True, False]]
    assert take(x, places).squeeze(-1)[present].tolist() == [1, 2, 5, 6, 11]


# ---------------------------------------------------------------------------- information flow


def test__forward__masked_values_changed__encoders_see_the_same(model, x):
    model.eval()
    visible = Spy(model.backbone.encoder)
    predicted = Spy(model.decoupled_encoder)
    masks = draw_mask(torch.ones(6, 10, dtype=torch.bool), 0.6, new_generator(5))
    changed = x.clone()
    points = masks.repeat_interleave(4, 1)[:, None].expand_as(x)
    changed[points] = torch.randn(int(points.sum())) * 9
    first = model(x, new_generator(5), True)
    second = model(changed, new_generator(5), True)
    assert torch.equal(visible.outputs[0][-1], visible.outputs[1][-1])
    assert torch.equal(predicted.outputs[0], predicted.outputs[1])
    assert first.loss != second.loss  # the targets did change


def test__forward__visible_values_changed__predictions_change(model, x):
    model.eval()
    predicted = Spy(model.decoupled_encoder)
    model(x, new_generator(5), True)
    model(x * torch.linspace(0.5, 2, 40), new_generator(5), True)
    assert not torch.allclose(*predicted.outputs)


def test__forward__no_mask_token_enters_the_visible_encoder(model, x):
    model.eval()
    encoder = Spy(model.backbone.encoder)
    model(x, new_generator(0), True)
    seen = encoder.inputs[0][0]
    assert seen.shape == (6, 4, 16)  # 10 - ⌊0.6 · 10⌋ visible
    z, p = model.backbone.embed(model.backbone.windows(x, True))
    same = (seen.flatten(0, 1)[:, None] == (z + p).flatten(0, 1)).all(-1)
    assert same.any(1).all()  # every input is some sub-series, embedded
    model.mask_vector.data += 100.0
    model(x, new_generator(0), True)
    assert torch.equal(encoder.outputs[0][-1], encoder.outputs[1][-1])


def test__forward__mask_tokens_in_the_encoder__the_ablation_feeds_them(x):
    model = build(decoupled=False).eval()
    encoder = Spy(model.backbone.encoder)
    model(x, new_generator(0), True)
    assert encoder.inputs[0][0].shape == (6, 10, 16)
    model.mask_vector.data += 1.0
    model(x, new_generator(0), True)
    assert not torch.allclose(encoder.outputs[0][-1], encoder.outputs[1][-1])


def test__decoupled_encoder__visible_representations__read_only(model):
    visible = torch.randn(2, 4, 16, requires_grad=True)
    before = visible.detach().clone()
    queries = torch.randn(2, 5, 16)
    with torch.no_grad():
        alone = model.decoupled_encoder(queries[:, :1], visible)
        together = model.decoupled_encoder(queries, visible)
    assert torch.equal(visible, before)
    # a query never attends to another: masked positions are decoupled from each other too
    torch.testing.assert_close(together[:, :1], alone)


def test__forward__in_eval__repeatable_and_without_dropout(model, x):
    model.eval()
    first, second = (model(x, new_generator(3), True) for _ in range(2))
    assert first.loss == second.loss
    model.train()
    assert model(x, new_generator(3), True).loss != first.loss


# ---------------------------------------------------------------------------- target encoder


def test__target_encoder__at_start__copy_with_own_storage():
    model = TimeMAE(build().config, new_generator(1))
    pairs = zip(model.target_encoder.parameters(), model.backbone.encoder.parameters(), strict=True)
    for target, source in pairs:
        assert torch.equal(target, source)
        assert target.data_ptr() != source.data_ptr()
        assert not target.requires_grad


def test__update_target__after_steps__equals_moving_average(x):
    model = build(momentum=0.9)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    expected = [p.double().clone() for p in model.target_encoder.parameters()]
    for step in range(3):
        optimizer.zero_grad()
        model(x, new_generator(step), True).loss.backward()
        optimizer.step()
        model.update_target()
        for average, source in zip(expected, model.backbone.encoder.parameters(), strict=True):
            average.mul_(0.9).add_(0.1 * source.detach().double())
    for average, target in zip(expected, model.target_encoder.parameters(), strict=True):
        assert (average - target).abs().max() < 1e-6
    assert all(p.grad is None for p in model.target_encoder.parameters())


def test__target_encoder__model_in_training__stays_in_eval():
    model = build().train()
    assert model.backbone.encoder.training
    assert not model.target_encoder.training


def test__target_encoder__forward__sees_masked_sub_series_only(x):
    model = build().train()
    target, encoder = Spy(model.target_encoder), Spy(model.backbone.encoder)
    model(x, new_generator(0), True)
    assert target.inputs[0][0].shape == (6, 6, 16)
    z, p = model.backbone.embed(model.backbone.windows(x, True))
    both = torch.cat([target.inputs[0][0], encoder.inputs[0][0]], 1)
    # together the two are all sub-series, each once
    torch.testing.assert_close(both.sum(1), (z + p).sum(1))


# ---------------------------------------------------------------------------- tokenizer


def learned(**settings) -> LearnedTokenizer:
    return build(**settings).tokenizer


def test__tokenizer__straight_through__hard_value_soft_gradient():
    tokenizer = learned(temperature=0.8)
    z = torch.randn(7, 16, requires_grad=True)
    upstream = torch.randn(7, 1, 12)
    hard = tokenizer.targets(z, None, new_generator(4))
    assert torch.allclose(hard.sum(-1), torch.ones(7, 1))
    assert torch.allclose(hard.max(-1).values, torch.ones(7, 1))
    gradient = torch.autograd.grad((hard * upstream).sum(), [z, tokenizer.codebook])

    gumbel = -(-torch.rand(7, 1, 12, generator=new_generator(4)).log()).log()
    soft = ((tokenizer.relevance(z) + gumbel) / 0.8).softmax(-1)
    expected = torch.autograd.grad((soft * upstream).sum(), [z, tokenizer.codebook])
    for g, e in zip(gradient, expected, strict=True):
        assert e.abs().max() > 1e-4
        torch.testing.assert_close(g, e)


def test__tokenizer__codeword_gradient_off__no_gradient():
    tokenizer = learned(codeword_gradient=False)
    targets = tokenizer.targets(torch.randn(7, 16, requires_grad=True), None, new_generator(4))
    assert not targets.requires_grad
    on = learned().targets(torch.randn(7, 16, requires_grad=True), None, new_generator(4))
    assert on.requires_grad


@pytest.mark.parametrize("switch", [True, False])
def test__forward__codeword_gradient__reaches_codebook_through_targets(x, switch):
    """With the head's own path to the codebook cut, only the targets' path is left."""
    model = build(codeword_gradient=switch, mrr_weight=0.0).train()
    tokenizer = model.tokenizer
    tokenizer.logits = lambda predicted: torch.nn.functional.linear(
        predicted, tokenizer.codebook.detach()[0]
    )[:, None]
    model(x, new_generator(0), True).loss.backward()
    gradient = tokenizer.codebook.grad
    if switch:
        assert gradient.abs().max() > 1e-6
    else:
        assert gradient is None or gradient.abs().max() == 0


def test__tokenizer__gumbel_noise__follows_the_softmax():
    tokenizer = learned()
    z = torch.randn(1, 16).expand(20_000, 16)
    drawn = tokenizer.targets(z, None, new_generator(0)).detach().mean(0)[0]
    expected = tokenizer.relevance(z[:1])[0, 0].softmax(-1).detach()
    np.testing.assert_allclose(drawn, expected, atol=0.015)


def test__tokenizer__relevance__inner_product_not_cosine():
    tokenizer = learned()
    z = torch.randn(3, 16)
    expected = z.detach().numpy() @ tokenizer.codebook[0].detach().numpy().T
    np.testing.assert_allclose(tokenizer.relevance(z)[:, 0].detach(), expected, atol=1e-5)


def test__codewords__in_eval__deterministic_argmax(model, x):
    model.eval()
    ids = model.codewords(x, True)
    assert torch.equal(ids, model.codewords(x, True))
    assert ids.shape == (6, 10, model.config.n_codebooks)
    assert ids.min() >= 0 and ids.max() < 12
    windows = model.backbone.windows(x, True)
    if model.config.tokenizer == "learned":
        z = model.backbone.feature_encoder(windows)
        assert torch.equal(model.tokenizer.targets(z, windows.values, None).argmax(-1), ids)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize(
    ("settings", "embedded"),
    [
        ({**DEFAULTS, "mrr_weight": 0.0}, [4]),  # of ten windows: the visible ones
        ({**DEFAULTS, "mrr_weight": 1.0}, [4, 6]),  # and the targets
        ({"mrr_weight": 0.0}, [4, 6]),
        ({**DEFAULTS, "mrr_weight": 0.0, "decoupled": False}, [10]),
    ],
    ids=["codewords", "regression", "learned codewords", "mask tokens inside"],
)
def test__forward__windows_that_nothing_reads__are_not_embedded(x, settings, embedded, gaps):
    model = build(**settings, mcc_weight=1.0)
    feature_encoder = Spy(model.backbone.feature_encoder)
    if gaps:
        x[:, :, 5] = torch.nan
    model(x, new_generator(0), not gaps)
    assert [output.shape[1] for output in feature_encoder.outputs] == embedded


def test__codewords__of_random_projections__embed_nothing(model, x):
    feature_encoder = Spy(model.backbone.feature_encoder)
    model.codewords(x, True)
    assert len(feature_encoder.outputs) == (model.config.tokenizer == "learned")


def test__random_projection__training_in_bfloat16__same_codewords():
    model = build(**DEFAULTS)
    windows = torch.randn(4, 500, 3, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        words = model.tokenizer.targets(None, windows, None)
    assert torch.equal(words, model.tokenizer.codewords(None, windows))


def test__random_projection__level_of_a_window__does_not_matter(x):
    model = build(**DEFAULTS, scaling=None)
    level = torch.randn(6, 3, 1) * 50
    shifted = model.codewords(x + level, True)
    assert (shifted == model.codewords(x, True)).float().mean() > 0.99
    assert "directions" in dict(model.tokenizer.named_buffers())  # not trained


# ---------------------------------------------------------------------------- losses


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test__losses__against_numpy(x, smoothing):
    model = build(label_smoothing=smoothing, mrr_weight=5.0, mcc_weight=2.0).eval()
    predicted, target = Spy(model.decoupled_encoder), Spy(model.target_encoder)
    pretext = model(x, new_generator(0), True)

    z_hat = predicted.outputs[0].detach().numpy().reshape(-1, 16)
    z_bar = target.outputs[0][-1].detach().numpy().reshape(-1, 16)
    mrr = ((z_hat - z_bar) ** 2).mean()

    masked = draw_mask(torch.ones(6, 10, dtype=torch.bool), 0.6, new_generator(0))
    z = model.backbone.feature_encoder(model.backbone.windows(x, True))[masked].detach().numpy()
    book = model.tokenizer.codebook[0].detach().numpy()
    codewords = (z @ book.T).argmax(1)
    logits = z_hat @ book.T
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    q = np.eye(12)[codewords] * (1 - smoothing) + smoothing / 12
    mcc = -(q * log_p).sum(1).mean()
    rank = (logits > logits[np.arange(len(logits)), codewords][:, None]).sum(1)
    gain = np.where(rank < 10, 1 / np.log2(rank + 2), 0)

    np.testing.assert_allclose(pretext.mrr, mrr, rtol=1e-5)
    np.testing.assert_allclose(pretext.mcc, mcc, rtol=1e-5)
    np.testing.assert_allclose(pretext.loss.detach(), 5 * mrr + 2 * mcc, rtol=1e-5)
    np.testing.assert_allclose(pretext.hit_rate, (rank == 0).mean(), rtol=1e-5)
    np.testing.assert_allclose(pretext.ndcg, gain.mean(), rtol=1e-5)
    np.testing.assert_array_equal(pretext.codeword_counts[0], np.bincount(codewords, minlength=12))
    assert pretext.n_masked == 36


def test__losses__reconstruction_terms__against_numpy(x):
    model = build(mrr_weight=0.0, reconstruction_weight=0.5, spectral_weight=0.25).eval()
    predicted = Spy(model.decoupled_encoder)
    pretext = model(x, new_generator(0), True)
    masked = draw_mask(torch.ones(6, 10, dtype=torch.bool), 0.6, new_generator(0))
    windows = model.backbone.windows(x, True).values[masked].numpy()
    hidden = predicted.outputs[0].flatten(0, 1)
    raw = model.reconstruct(hidden).detach().numpy()
    spectrum = model.reconstruct_spectrum(hidden).detach().numpy()
    amplitude = np.abs(np.fft.rfft(windows, axis=-1)) / 2  # orthonormal: / sqrt(4)
    expected = 0.5 * ((raw - windows.reshape(36, -1)) ** 2).mean()
    expected += 0.25 * ((spectrum - amplitude.reshape(36, -1)) ** 2).mean()
    np.testing.assert_allclose(pretext.reconstruction, expected, rtol=1e-5)


def test__losses__layer_norm_targets__are_normalised(x):
    model = build(mrr_target="layer_norm", mcc_weight=0.0).eval()
    predicted, target = Spy(model.decoupled_encoder), Spy(model.target_encoder)
    mrr = model(x, new_generator(0), True).mrr
    z_bar = target.outputs[0][-1]
    z_bar = (z_bar - z_bar.mean(-1, keepdim=True)) / (
        z_bar.var(-1, correction=0, keepdim=True) + 1e-5
    ).sqrt()
    np.testing.assert_allclose(
        mrr, (predicted.outputs[0] - z_bar).square().mean().detach(), rtol=1e-4
    )


@pytest.mark.parametrize(
    "settings", [{}, DEFAULTS, {"decoupled": False}], ids=["paper", "defaults", "not decoupled"]
)
def test__losses__padding_behind_series__changes_nothing(x, settings, monkeypatch):
    """Series of unequal length in one batch lose as much as each by itself."""
    model = build(**settings, label_smoothing=0.0).eval()
    lengths = [40, 18, 29, 8, 40, 33]
    for series, length in zip(x, lengths, strict=True):
        series[:, length:] = torch.nan
    valid = model.backbone.windows(x).valid
    assert valid.sum(1).tolist() == [10, 5, 7, 2, 10, 8]  # 29 and 33 end in a lone point
    masked = draw_mask(valid, 0.6, new_generator(1))
    rows = []  # of the series in the batch
    monkeypatch.setattr(
        "tsmae.nn.timemae.draw_mask", lambda valid, *_: masked[rows, : valid.shape[1]]
    )
    rows[:] = range(6)
    together = model(x, new_generator(0))
    alone = []
    for i, length in enumerate(lengths):
        rows[:] = [i]
        alone.append(model(x[i : i + 1, :, :length], new_generator(0)))
    assert together.n_masked == sum(part.n_masked for part in alone) == masked.sum()
    for name in ("loss", "mrr", "mcc", "hit_rate", "ndcg"):
        expected = sum(part.n_masked * getattr(part, name) for part in alone) / masked.sum()
        torch.testing.assert_close(getattr(together, name), expected, rtol=1e-4, atol=1e-5)


def test__losses__tied_logits__share_the_hit():
    model = build(mrr_weight=0.0)
    model.tokenizer.logits = lambda predicted: torch.ones(len(predicted), 1, 12)
    ids = torch.zeros(5, 1, dtype=torch.long)
    _, hits, ndcg, _ = model._classify(torch.zeros(5, 16), ids)
    assert hits.item() == pytest.approx(1 / 12)
    assert ndcg.item() == pytest.approx(1 / math.log2(2 + 11 / 2))


@pytest.mark.parametrize(("n_ahead", "gain"), [(0, 1.0), (9, 1 / math.log2(11)), (10, 0.0)])
def test__losses__ndcg__of_the_first_ten(n_ahead, gain):
    model = build(mrr_weight=0.0)
    model.tokenizer.logits = lambda predicted: -torch.arange(12.0).expand(len(predicted), 1, 12)
    ids = torch.full((5, 1), n_ahead)
    assert model._classify(torch.zeros(5, 16), ids)[2].item() == pytest.approx(gain)


# ---------------------------------------------------------------------------- blocks


def test__block__timemae_at_start__bare_norms():
    block = TimeMAE(
        architecture(n_channels=3, n_positions=10), new_generator(0)
    ).backbone.encoder.blocks[0]
    x = torch.randn(2, 5, 64)
    expected = torch.nn.functional.layer_norm(x, (64,))
    torch.testing.assert_close(block(x), expected, atol=1e-4, rtol=1e-4)
    assert block.scale_1.item() == pytest.approx(1e-8)
    assert block.expand.bias[0].item() == pytest.approx(0.1)


def test__attention__against_torch_multihead():
    block = build(n_layers=1).backbone.encoder.blocks[0].attention
    reference = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    reference.in_proj_weight.data = block.query_key_value.weight.data
    reference.in_proj_bias.data = block.query_key_value.bias.data
    reference.out_proj.load_state_dict(block.output.state_dict())
    x = torch.randn(3, 7, 16)
    present = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    expected, _ = reference(x, x, x, key_padding_mask=~present)
    torch.testing.assert_close(block(x, None, present), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("few_keys", [128, 6], ids=["written out", "fused"])
@pytest.mark.parametrize("padded", [False, True])
def test__attention__bfloat16__close_to_float32(few_keys, padded, monkeypatch):
    monkeypatch.setattr(blocks, "_FEW_KEYS", few_keys)
    fused, calls = torch.nn.functional.scaled_dot_product_attention, []
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *parts, **settings: calls.append(parts[0].dtype) or fused(*parts, **settings),
    )
    attention = build(n_layers=1).backbone.encoder.blocks[0].attention
    x = torch.randn(3, 7, 16, generator=new_generator(1), requires_grad=True)
    present = torch.arange(7) < torch.tensor([7, 4, 1])[:, None] if padded else None
    found = []
    for is_on in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_on, cache_enabled=False):
            mixed = attention(x, None, present)
        assert mixed.dtype == (torch.bfloat16 if is_on else torch.float32)
        (gradient,) = torch.autograd.grad(mixed.float().square().sum(), x)
        found.append((mixed.detach().float(), gradient))
    assert calls == [torch.float32] * (1 if few_keys == 128 else 2)
    for exact, rounded in zip(*found, strict=True):
        assert 0 < (exact - rounded).norm() / exact.norm() < 0.01


def test__positions__longer_than_known__stretched_between_ends():
    positions = build().backbone.positions
    positions.table.data = torch.arange(10.0)[:, None].expand(10, 16).clone()
    assert positions(7, None)[0, :, 0].tolist() == list(range(7))
    stretched = positions(19, None)[0, :, 0]
    np.testing.assert_allclose(stretched.detach(), np.linspace(0, 9, 19), atol=1e-5)
    valid = torch.arange(19) < torch.tensor([19, 7])[:, None]
    own = positions(19, valid)[1, :7, 0]
    assert own.tolist() == list(range(7))  # not stretched by its neighbour


# ---------------------------------------------------------------------------- contrast


def test__contrast__loss__against_numpy():
    model = build(contrast_weight=1.0, contrast_temperature=0.3)
    first, second = torch.randn(2, 5, 16, generator=new_generator(1)).unbind()
    found = model.discrimination(first, second)

    head = model.discrimination
    views = head.contract(torch.nn.functional.gelu(head.expand(torch.cat([first, second]))))
    views = views.detach().numpy().astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    losses = []
    for i in range(10):
        similarity = {j: views[i] @ views[j] / 0.3 for j in range(10) if j != i}
        partner = (i + 5) % 10
        losses.append(np.log(np.exp(list(similarity.values())).sum()) - similarity[partner])
    np.testing.assert_allclose(found.item(), np.mean(losses), rtol=1e-5)


@pytest.mark.parametrize("gaps", [False, True])
def test__jitter__what_is_predicted_but_not_the_contrast(x, gaps):
    model = build(**DEFAULTS, mrr_weight=0.0, contrast_weight=1.0).eval()
    views = (x, 2 * x)
    if gaps:
        x = x.masked_fill(torch.rand(x.shape, generator=new_generator(9)) < 0.2, torch.nan)
    x = 5 + 3 * x
    model.backbone.scaling.set_statistics(np.full(3, 5.0), np.full(3, 3.0))
    found = model(x, new_generator(1), not gaps, views, jitter_deviation=0.3)
    generator = new_generator(1)
    changed = 5 + 3 * jitter((x - 5) / 3, 0.3, generator)
    expected = model(changed, generator, not gaps, views)
    np.testing.assert_allclose(found.mcc.item(), expected.mcc.item(), rtol=1e-5)
    assert found.contrast == expected.contrast
    assert abs(found.mcc - model(x, new_generator(1), not gaps, views).mcc) > 1e-4


def test__contrast__alone__trains_the_whole_backbone_and_predicts_nothing(x):
    weights = {"mcc_weight": 0.0, "mrr_weight": 0.0, "contrast_weight": 2.0}
    model = build(**DEFAULTS, **weights).train()
    views = (x, x.roll(1, dims=-1))
    pretext = model(x, new_generator(0), True, views)
    np.testing.assert_allclose(pretext.loss.item(), 2 * pretext.contrast.item(), rtol=1e-6)
    assert pretext.n_masked == 0 and pretext.mcc == pretext.ndcg == 0
    pretext.loss.backward()
    untouched = {n for n, p in model.backbone.named_parameters() if p.grad is None}
    assert untouched <= {"feature_encoder.missing.weight"}  # nothing is missing here
    assert all(p.grad is None for p in model.decoupled_encoder.parameters())


def test__contrast__beside_codewords__losses_add_up(x):
    both, alone = build(**DEFAULTS, contrast_weight=0.5, mrr_weight=0.0), build(**DEFAULTS)
    pretext = both.eval()(x, new_generator(0), True, (x, 2 * x))
    np.testing.assert_allclose(
        pretext.loss.item(), pretext.mcc.item() + 0.5 * pretext.contrast.item(), rtol=1e-6
    )
    assert alone.eval()(x, new_generator(0), True).contrast == 0


def test__contrast__padded_views__as_the_series_alone(x):
    model = build(**DEFAULTS, mcc_weight=0.0, mrr_weight=0.0, contrast_weight=1.0).eval()
    padded = torch.nn.functional.pad(x, (0, 8), value=torch.nan)
    alone = model(x, new_generator(0), True, (x, 2 * x)).contrast
    beside = model(padded, new_generator(0), False, (padded, 2 * padded)).contrast
    np.testing.assert_allclose(alone.item(), beside.item(), rtol=1e-4)


@pytest.mark.parametrize("resolution", [1, 2])
def test__contrast__of_views_encoded_one_by_one__the_same(x, resolution):
    model = build(**DEFAULTS, mcc_weight=0.0, mrr_weight=0.0, contrast_weight=1.0).eval()
    views = x.clone(), 2 * x + 1
    views[0][:3, :, 30:] = views[1][2:, 0, 5:9] = torch.nan
    found = model(x, new_generator(0), False, views, resolution).contrast
    pooled = []
    for view in views:
        coarse = average_down(model.backbone.scaling(view), resolution)
        layers, valid = model.backbone.encode(coarse)
        there = valid[..., None]
        pooled.append((layers[-1] * there).sum(1) / there.sum(1))
    torch.testing.assert_close(found, model.discrimination(*pooled), rtol=1e-5, atol=1e-6)


def test__contrast__single_series__is_zero(x):
    model = build(**DEFAULTS, mcc_weight=0.0, mrr_weight=0.0, contrast_weight=1.0)
    pretext = model(x[:1], new_generator(0), True, (x[:1], 2 * x[:1]))
    assert pretext.loss == 0


def test__contrast__beside_codewords_where_none_is_predicted__counts(x):
    model = build(**DEFAULTS, contrast_weight=0.5, mrr_weight=0.0)
    short = x[..., :4]  # a single window
    pretext = model(short, new_generator(0), True, (short, 2 * short))
    assert pretext.n_contrasted == len(x) and pretext.contrast > 0


def test__contrast__coarser__sees_means_of_scaled_views(x):
    model = build(
        **DEFAULTS, scaling="instance", mcc_weight=0.0, mrr_weight=0.0, contrast_weight=1.0
    )
    views = (x, x.square())
    found = model.eval()(x, new_generator(0), True, views, 2).contrast
    coarse = [model.backbone.scaling(v).unflatten(-1, (-1, 2)).mean(-1) for v in views]
    model.backbone.scaling = torch.nn.Identity()
    expected = model(x, new_generator(0), True, coarse).contrast
    np.testing.assert_allclose(found.item(), expected.item(), rtol=1e-5)
    assert abs(found - model(x, new_generator(0), True, views).contrast) > 1e-4


def test__reconstruction__points_not_observed__have_no_error(x):
    model = build(mrr_weight=0.0, mcc_weight=0.0, reconstruction_weight=1.0).eval()
    holed = x.clone()
    holed[:, 0, 1::2] = torch.nan  # every window keeps half of channel 0
    predicted = Spy(model.decoupled_encoder)
    pretext = model(holed, new_generator(0))
    masked = draw_mask(torch.ones(6, 10, dtype=torch.bool), 0.6, new_generator(0))
    windows = model.backbone.windows(holed)
    raw = model.reconstruct(predicted.outputs[0].flatten(0, 1)).detach()
    errors = (raw - windows.values[masked].flatten(1)).square()
    expected = errors[windows.observed[masked].flatten(1)].mean()
    torch.testing.assert_close(pretext.reconstruction, expected)
    assert not torch.isclose(expected, errors.mean())


@pytest.mark.parametrize("kind", ["reconstruction_weight", "spectral_weight"])
def test__reconstruction__constant_channels__do_not_dilute_it(x, kind):
    weights = {"mrr_weight": 0.0, "mcc_weight": 0.0, kind: 1.0}
    model = build(**weights, scaling="channel").eval()
    model.backbone.scaling.scale[0] = torch.inf
    predicted = Spy(model.decoupled_encoder)
    found = model(x, new_generator(0), True).reconstruction
    masked = draw_mask(torch.ones(6, 10, dtype=torch.bool), 0.6, new_generator(0))
    target = model.backbone.windows(model.backbone.scaling(x), True).values[masked]
    head = model.reconstruct if kind == "reconstruction_weight" else model.reconstruct_spectrum
    if kind == "spectral_weight":
        target = torch.fft.rfft(target, norm="ortho").abs()
    errors = (head(predicted.outputs[0].flatten(0, 1)).view_as(target) - target).square()
    torch.testing.assert_close(found, errors[:, 1:].mean().detach())


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test__reconstruction__with_gaps__whatever_the_batches(x, batch_size):
    model = build(mrr_weight=0.0, mcc_weight=0.0, reconstruction_weight=1.0).eval()
    holed = x.clone()
    holed[:3, :, 1:].masked_fill_(torch.rand(3, 3, 39, generator=new_generator(1)) < 0.8, torch.nan)
    panel = Panel.from_array(holed.numpy())
    losses = [
        evaluate_pretext(model, panel, torch.device("cpu"), size, 1)["reconstruction"]
        for size in (6, batch_size)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("branch", ["attention", "feed-forward"])
@pytest.mark.parametrize("settings", [{}, DEFAULTS], ids=["paper", "defaults"])
@torch.no_grad()
def test__block__dropout__on_the_output_of_each_branch(settings, branch):
    block = build(**settings, n_layers=1, dropout=0.5).backbone.encoder.blocks[0]
    block.norm_1 = block.norm_2 = torch.nn.Identity()
    silent = block.contract if branch == "attention" else block.attention.output
    for weight in silent.parameters():
        weight.zero_()
    x = torch.randn(20, 10, 16, generator=new_generator(1))
    whole, noisy = block(x) - x, block(x, generator=new_generator(0)) - x
    assert (noisy == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(noisy[noisy != 0], 2 * whole[noisy != 0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test__decoupled_encoder__dropout_of_its_own__or_that_of_the_encoder():
    queries, visible = torch.randn(2, 5, 16), torch.randn(2, 4, 16)
    for own, noisy in ((0.0, False), (0.5, True), (None, True)):
        model = build(dropout=0.5, decoupled_dropout=own)
        found = model.decoupled_encoder(queries, visible, None, new_generator(0))
        assert torch.equal(found, model.decoupled_encoder(queries, visible)) != noisy


@pytest.mark.parametrize(
    ("settings", "bias", "of_positions"),
    [({}, 0.1, 1.0), (DEFAULTS, 0.0, 0.02)],
    ids=["paper", "defaults"],
)
def test__weights_at_start__deviation_by_inputs_and_outputs(settings, bias, of_positions):
    model = build(**settings, d_model=64, n_positions=100)
    large = [
        m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.weight.numel() > 4000
    ]
    assert len(large) >= 18
    for layer in large:
        n_fused = {192: 3, 128: 2}.get(layer.out_features, 1)  # of queries, keys and values
        n_outputs, n_inputs = layer.out_features / n_fused, layer.in_features
        std = n_inputs**-0.5 if settings else math.sqrt(2 / (n_inputs + n_outputs))
        for weight in layer.weight.chunk(n_fused):
            assert weight.std().item() == pytest.approx(std, rel=0.05)
        assert (layer.bias == bias).all()
    assert model.backbone.positions.table.std().item() == pytest.approx(of_positions, rel=0.05)
    assert model.mask_vector.std().item() == pytest.approx(0.02, rel=0.3)


def test__losses__regression_target__carries_no_gradient(x):
    model = build(mcc_weight=0.0)
    model.decoupled_encoder.register_forward_hook(lambda *io: io[-1].detach().requires_grad_())
    model(x, new_generator(0), True).loss.backward()
    assert all(p.grad is None for p in model.backbone.parameters())


def test__forward__hidden_windows__are_asked_for_by_their_positions(model, x):
    asked = Spy(model.decoupled_encoder)
    model.eval()(x, new_generator(0), True)
    masked = draw_mask(torch.ones(6, 10, dtype=torch.bool), 0.6, new_generator(0))
    table = model.backbone.positions.table
    expected = torch.stack([model.mask_vector + table[row] for row in masked])
    torch.testing.assert_close(asked.inputs[0][0], expected)


@torch.no_grad()
def test__encoders__pre_norm__end_in_a_norm():
    model = build(**DEFAULTS)
    x = 9 * torch.randn(2, 5, 16)
    for out in (model.backbone.encoder(x)[-1], model.decoupled_encoder(x, x)):
        torch.testing.assert_close(out.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
        torch.testing.assert_close(out.var(-1, correction=0), torch.ones(2, 5), atol=1e-3, rtol=0)


@torch.no_grad()
def test__feature_encoder__values_shapes_and_statistics__against_numpy(x):
    model = build(window_statistics=True)
    encoder, windows = model.backbone.feature_encoder, model.backbone.windows(x, True)
    values = windows.values.numpy()
    mean, deviation = values.mean(-1), values.std(-1)
    shape = (values - mean[..., None]) / (deviation[..., None] + 1e-3)
    inputs = np.concatenate([values, shape], 2).reshape(6, 10, -1)
    statistics = np.concatenate([mean, np.log(deviation + 1e-3)], 2)
    expected = sum(
        numbers @ layer.weight.numpy().T + layer.bias.numpy()
        for numbers, layer in ((inputs, encoder.project), (statistics, encoder.project_statistics))
    )
    np.testing.assert_allclose(encoder(windows), expected, atol=1e-5)


@torch.no_grad()
def test__feature_encoder__stem__two_convolutions_within_a_window(x):
    model = build(stem="conv")
    encoder, windows = model.backbone.feature_encoder, model.backbone.windows(x, True)
    stem = torch.nn.Sequential(
        encoder.conv_1, torch.nn.GELU(), encoder.conv_2, torch.nn.GELU(), torch.nn.Flatten(),
        encoder.project,
    )  # fmt: skip
    for series, window in ((0, 0), (5, 9)):
        expected = stem(x[series, :, 4 * window : 4 * window + 4][None])[0]
        torch.testing.assert_close(encoder(windows)[series, window], expected)


def test__feature_encoder__one_point_observed__its_deviation_is_the_panel_s(x):
    model = build(**DEFAULTS)
    statistics = Spy(model.backbone.feature_encoder.project_statistics)
    x[:, 0, 8:11] = torch.nan  # of the third window a point is left
    x[:, 1, 8:10] = torch.nan  # and here two
    model.backbone.feature_encoder(model.backbone.windows(x))
    logarithms = statistics.inputs[0][0][..., 3:]
    assert (logarithms[:, 2, 0] == 0).all()
    assert (logarithms[:, 2, 1:] != 0).all() and (logarithms[:, 1] != 0).all()


@torch.no_grad()
def test__feature_encoder__absence__tells_nothing_at_the_start(model, x):
    encoder, windows = model.backbone.feature_encoder, model.backbone.windows(x, True)
    observed = torch.ones_like(windows.values, dtype=torch.bool)
    observed[..., 0] = False
    whole = encoder(windows)
    torch.testing.assert_close(encoder(windows._replace(observed=observed)), whole)
    encoder.missing.weight += 0.1
    assert (encoder(windows._replace(observed=observed)) - whole).abs().max() > 0.01


def test__draw_mask__padding_between__every_real_place_has_its_turn():
    valid = torch.tensor([[1, 0, 0, 1, 1, 0, 1, 1, 1, 1]]).bool().expand(200, -1)
    masked = draw_mask(valid, 0.6, new_generator(0))
    assert not (masked & ~valid).any()
    assert (masked.sum(1) == 4).all()
    assert masked[:, valid[0]].any(0).all()


def test__codeword_counts__of_each_codebook_its_own():
    codewords = torch.tensor([[0, 5], [0, 5], [1, 5]])
    counts = build(**DEFAULTS)._classify(torch.randn(3, 16), codewords)[-1]
    assert counts[0, :2].tolist() == [2, 1] and counts[1, 5] == 3 and counts.sum() == 6


def test__learned_tokenizer__several_codebooks__all_drawn_alike():
    codebooks = build(n_codebooks=4).tokenizer.codebook.detach()
    expected = (2 / (4 * 12 + 16)) ** 0.5
    np.testing.assert_allclose(codebooks.std((1, 2)), expected, rtol=0.15)


@torch.no_grad()
def test__contrast__under_autocast__similarities_in_float32():
    part = build(contrast_weight=1.0, contrast_temperature=0.01).discrimination
    first, second = torch.randn(2, 6, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = part(first, second)
        views = part.contract(torch.nn.functional.gelu(part.expand(torch.cat([first, second]))))
    views = torch.nn.functional.normalize(views.float(), dim=1)
    similarity = (views @ views.T / 0.01).fill_diagonal_(-torch.inf)
    expected = torch.nn.functional.cross_entropy(similarity, torch.arange(12).roll(6))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("settings", [{}, DEFAULTS], ids=["paper", "defaults"])
def test__codewords__of_scaled_series(settings):
    model, x = build(**settings, scaling="channel").eval(), torch.randn(6, 3, 40)
    expected = model.codewords(x)
    location, scale = torch.tensor([100.0, -3, 0]), torch.tensor([50.0, 0.02, 1])
    model.backbone.scaling.set_statistics(location.numpy(), scale.numpy())
    raw = x * scale[:, None] + location[:, None]
    assert (model.codewords(raw) == expected).float().mean() > 0.95  # but for rounding


def test__reconstruction__window_of_a_constant_channel_alone__finite(x):
    weights = {"mrr_weight": 0.0, "mcc_weight": 0.0, "reconstruction_weight": 1.0}
    model = build(**weights, scaling="channel").eval()
    model.backbone.scaling.scale[0] = torch.inf
    x[:, 1:, 4:8] = torch.nan  # of the second window the constant channel alone is there
    assert model(x, new_generator(0)).reconstruction.isfinite()


def test__mask_vector__is_learned(x):
    model = build()
    model(x, new_generator(0), True).loss.backward()
    assert model.mask_vector.grad.abs().max() > 0
