"""Instance discrimination: telling two views of a series from those of other series [1]_.

.. [1] T. Chen, S. Kornblith, M. Norouzi, G. Hinton. A Simple Framework for Contrastive Learning
   of Visual Representations. ICML 2020.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tsmae.nn.config import TimeMAEConfig
from tsmae.nn.layers import linear


class InstanceDiscrimination(nn.Module):
    """A projection of series, used in pre-training only, and the loss on it."""

    def __init__(self, config: TimeMAEConfig):
        super().__init__()
        d = config.d_model
        self.temperature = config.contrast_temperature
        self.expand = linear(d, 2 * d)
        self.contract = linear(2 * d, d)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of finding each view's partner among all other views of the batch.

        Both (B, d), row i of either a view of series i. 0 for a single series.
        """
        n_series = len(first)
        views = self.contract(F.gelu(self.expand(torch.cat([first, second]))))
        with torch.autocast(views.device.type, enabled=False):  # similarities need float32
            views = F.normalize(views.float(), dim=1)
            similarity = views @ views.T / self.temperature  # (2B, 2B)
            itself = torch.eye(2 * n_series, dtype=torch.bool, device=views.device)
            partner = torch.arange(2 * n_series, device=views.device).roll(n_series)
            return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)
