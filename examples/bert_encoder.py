"""Another encoder in the place of the Transformer: a small Hugging Face BERT.

Any module that maps (B, N, d) to (B, N, d) will do. BERT is fed embeddings instead of tokens;
its weights are random, nothing is downloaded. It needs ``pip install transformers``.
"""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sktime.datasets import load_basic_motions
from transformers import BertConfig, BertModel

from tsmae import TimeMAETransformer


class BertEncoder(torch.nn.Module):
    """BERT over sub-series that are embedded already.

    `padding_mask` (B, N), True at padding, is what lets it take series of unequal length.
    """

    def __init__(self, d_model: int, n_layers: int = 2):
        super().__init__()
        config = BertConfig(
            vocab_size=1,
            hidden_size=d_model,
            num_hidden_layers=n_layers,
            num_attention_heads=4,
            intermediate_size=4 * d_model,
        )
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, x, padding_mask=None):
        mask = None if padding_mask is None else (~padding_mask).long()
        return self.bert(inputs_embeds=x, attention_mask=mask).last_hidden_state


if __name__ == "__main__":
    X_train, y_train = load_basic_motions(split="train", return_type="numpy3D")
    X_test, y_test = load_basic_motions(split="test", return_type="numpy3D")
    transformer = TimeMAETransformer(encoder=BertEncoder, max_epochs=10, random_state=0)
    pipeline = make_pipeline(transformer, LogisticRegression(max_iter=1000))
    pipeline.fit(X_train, y_train)
    print(f"accuracy of a linear probe on BERT: {pipeline.score(X_test, y_test):.3f}")
