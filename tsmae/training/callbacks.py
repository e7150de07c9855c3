"""skorch callbacks of our own."""

from __future__ import annotations

from skorch.callbacks import Callback
from tqdm.auto import tqdm


class ProgressBar(Callback):
    """A bar over the epochs with the loss and the time left."""

    def __init__(self, description: str):
        self.description = description

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.bar_ = tqdm(total=net.max_epochs, desc=self.description, unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        shown = {k: f"{row[k]:.4g}" for k in ("train_loss", "valid_loss") if k in row}
        self.bar_.set_postfix(shown)
        self.bar_.update()

    def close(self) -> None:
        """At the end of a fit, or where it failed."""
        if hasattr(self, "bar_"):
            self.bar_.close()
