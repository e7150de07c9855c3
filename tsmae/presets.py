"""Keyword dictionaries for the estimators.

``PAPER`` and ``PAPER_FINE_TUNING`` reproduce TimeMAE [1]_ as its authors ran it, down to the
details that their runs add to the paper's text: norms after residual branches whose learned
scale starts at 1e-8, Xavier-normal weights with biases of 0.1, positions as large as windows
(inferred from what those runs reach after 0, 10 and 20 epochs on HAR), dropout 0.1 in the decoupled
encoder, no gradient through the codewords, the regression weighted by 5, one mask for the
whole batch, no scaling, a random start, Adam without weight decay for fine-tuning. Of the
library's own remain that embeddings are standardised, also before the classifier's head, that
this head starts from a logistic regression on them, and label smoothing of 0.1; that padding and
gaps are masked, not zeros taken for data, and a lone last point is left out; that constant
channels count as nothing; that the target encoder and evaluation are free of dropout and noise;
that attention weights are not dropped out; and that at least one window is masked and one seen.

Examples
--------
>>> from tsmae import TimeMAEClassifier, TimeMAETransformer, presets
>>> transformer = TimeMAETransformer(**presets.PAPER)
>>> classifier = TimeMAEClassifier(transformer, **presets.PAPER_FINE_TUNING)

.. [1] M. Cheng et al. TimeMAE: Self-Supervised Representations of Time Series with Decoupled
   Masked Autoencoders. arXiv 2303.00320.
"""

PAPER = {
    "window_length": 8,
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 8,
    "n_decoupled_layers": 4,
    "dropout": 0.2,
    "decoupled_dropout": 0.1,
    "block": "timemae",
    "stem": "linear",
    "window_statistics": False,
    "scaling": None,
    "mask_ratio": 0.6,
    "mask_per": "batch",
    "decoupled": True,
    "tokenizer": "learned",
    "n_codebooks": 1,
    "n_codewords": 192,
    "temperature": 1.0,
    "codeword_gradient": False,
    "label_smoothing": 0.2,
    "mcc_weight": 1.0,
    "mrr_weight": 5.0,
    "mrr_target": "raw",
    "momentum": 0.99,
    "reconstruction_weight": 0.0,
    "spectral_weight": 0.0,
    "contrast_weight": 0.0,
    "init": "random",
    "train_stem": True,
    "augment": False,
    "jitter": 0.0,
    "pooling": "mean",
    "pooling_layers": "last",
    "pooling_resolutions": (1,),
    "pooling_slopes": (),
    "pooling_shifts": 1,
    "standardize": True,
    "max_epochs": 100,
    "batch_size": 128,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "lr_schedule": None,
    "precision": "float32",
}

PAPER_FINE_TUNING = {
    "fine_tune": "all",
    "pooling": "mean",
    "pooling_layers": "last",
    "pooling_resolutions": (1,),
    "pooling_slopes": (),
    "pooling_shifts": 1,
    "average_probe": False,
    "augment": False,
    "jitter": 0.0,
    "label_smoothing": 0.1,
    "max_epochs": 100,
    "batch_size": 128,
    "lr": 1e-3,
    "weight_decay": 0.0,
    "lr_schedule": None,
    "precision": "float32",
}
