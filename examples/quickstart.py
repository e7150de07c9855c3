"""The main job on real data: pre-train without labels, embed, classify, look.

JapaneseVowels: 640 utterances of the vowel /ae/ by nine speakers, 12 coefficients over 7 to 29
points of time; who is speaking? The panel ships with sktime, with its official split.

Run it with ``make demo``, or ``python examples/quickstart.py [folder for the picture]``.
"""

import sys
import time
from pathlib import Path

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sktime.datasets import load_japanese_vowels

from tsmae import TimeMAEClassifier, TimeMAETransformer
from tsmae.plotting import plot_embedding

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")

# series of unequal length, in sktime's own container; nothing has to be padded or resampled
X_train, y_train = load_japanese_vowels(split="train", return_type="nested_univ")
X_test, y_test = load_japanese_vowels(split="test", return_type="nested_univ")
print(f"{len(X_train)} series to learn from, {len(X_test)} to be tested on")

# 1. an embedding learned without labels, and a linear classifier on top
start = time.process_time()
pipeline = Pipeline(
    [
        ("mae", TimeMAETransformer(random_state=0, verbose=1)),
        ("lr", LogisticRegression(max_iter=1000)),
    ]
).fit(X_train, y_train)
pretrained = pipeline["mae"]
print(f"pre-trained for {pretrained.n_epochs_} epochs, {time.process_time() - start:.0f} CPU-s")

# 2. the same readout of an encoder that never saw data: what pre-training has to beat
untrained = Pipeline(
    [
        ("mae", TimeMAETransformer(init="random", max_epochs=0, random_state=0)),
        ("lr", LogisticRegression(max_iter=1000)),
    ]
).fit(X_train, y_train)

# 3. the encoder fine-tuned on the labels (by default from 400 of them on); frozen: it is not
# pre-trained again
classifier = TimeMAEClassifier(
    FrozenEstimator(pretrained), fine_tune="all", random_state=0, verbose=1
)
classifier.fit(X_train, y_train)

print("\naccuracy on the official test split")
print(f"  random encoder, linear probe (FineZero)     {untrained.score(X_test, y_test):.3f}")
print(f"  pre-trained encoder, linear probe           {pipeline.score(X_test, y_test):.3f}")
print(f"  pre-trained encoder, fine-tuned             {classifier.score(X_test, y_test):.3f}")

# 4. what the embedding looks like
folder.mkdir(parents=True, exist_ok=True)
picture = folder / "quickstart.png"
plot_embedding(pretrained.transform(X_test), y_test).savefig(picture, dpi=120)
print(f"\npicture of the embedding: {picture}")
