"""From few labels to a service: pre-train on all series, label five a class, ship both.

JapaneseVowels as in the quickstart, with a fifth of its points lost and no labels but five of each
speaker. The encoder is shipped as a file of tensors and JSON, which executes nothing when it is
loaded, the classifier as scikit-learn's are. What comes in is embedded in parts, so that memory
does not grow with it.

Run it with ``python examples/ship_encoder.py [folder for the files]``.
"""

import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sktime.datasets import load_japanese_vowels

from tsmae import TimeMAETransformer

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


def load(split):
    """A list of (C, T_i) arrays, NaN where a point was lost, and the speakers."""
    frames, y = load_japanese_vowels(split=split, return_type="df-list")
    series = [frame.to_numpy(dtype=np.float32).T for frame in frames]
    for one in series:
        one[:, 1:][:, rng.random(one.shape[1] - 1) < 0.2] = np.nan
    return series, y


# ------------------------------------------------------------------ where the data is
X_train, y_train = load("train")
speakers = np.unique(y_train)
few = np.concatenate([rng.choice(np.flatnonzero(y_train == s), 5, False) for s in speakers])

encoder = TimeMAETransformer(random_state=0, verbose=1).fit(X_train)  # no labels
untrained = TimeMAETransformer(init="random", max_epochs=0, random_state=0).fit(X_train)
classifiers = {}
for name, transformer in (("pre-trained", encoder), ("random", untrained)):
    embeddings = transformer.transform([X_train[i] for i in few])
    classifiers[name] = LogisticRegression(max_iter=1000).fit(embeddings, y_train[few])

file = folder / "encoder.zip"
encoder.save(file)
joblib.dump(classifiers["pre-trained"], folder / "classifier.joblib")
print(f"shipped {file} ({file.stat().st_size / 1e6:.1f} MB)")

# ------------------------------------------------------------------ where it is used
X_test, y_test = load("test")
shipped = TimeMAETransformer.load(folder / "encoder.zip")
classifier = joblib.load(folder / "classifier.joblib")
hits = 0
for start in range(0, len(X_test), 100):
    part = slice(start, start + 100)
    hits += (classifier.predict(shipped.transform(X_test[part])) == y_test[part]).sum()

print(f"accuracy from {len(few)} labels, {len(X_test)} series with gaps")
random = classifiers["random"].score(untrained.transform(X_test), y_test)
print(f"  random encoder       {random:.3f}")
print(f"  pre-trained encoder  {hits / len(X_test):.3f}")
