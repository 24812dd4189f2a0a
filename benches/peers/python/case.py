"""The ids of src/case.rs: `LOSS/MODE/ROWSxDIM`, `LOSS/MODE/ROWSxNEGATIVESxDIM`, and `/f64` after either."""

import numpy as np

COSINE_MARGIN = 0.0
TRIPLET_MARGIN = 1.0
TEMPERATURE = 0.05


class Case:
    def __init__(self, text):
        self.loss, mode, sizes, *precision = text.split("/")
        self.backward = mode == "forward_backward"
        self.rows, *negatives, self.dim = map(int, sizes.split("x"))
        self.negatives = negatives[0] if negatives else 0
        self.dtype = np.float64 if precision else np.float32

    def inputs(self):
        names = {"cosine_embedding": ["x", "y"], "triplet_margin": ["anchor", "positive", "negative"]}
        matrices = names.get(self.loss, ["queries", "documents"])
        inputs = [(name, (self.rows, self.dim)) for name in matrices]
        if self.negatives:
            inputs.append(("negatives", (self.rows, self.negatives, self.dim)))
        return inputs
