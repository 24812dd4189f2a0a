"""What all families share: drawing inputs, differentiating a loss, writing a file."""

import json
import math
import pathlib
from importlib.metadata import version

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

GRID = 1024  # embeddings are multiples of 1/GRID, so that they are the same numbers in f32
CLEAR = 1e-3  # distance of similarities from every threshold
ATTEMPTS = 400
FLOOR = 1e-3  # of a value and of the gradient by a parameter, relative to the largest score: three digits are lost at most
ENOUGH = 0.03
STEP = 1e-5  # of central differences


class Draw:
    """Random rows on the grid, all different, of norms around 1 but not 1."""

    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)

    def rows(self, *shape, scale=0.5):
        return on_grid(torch.randn(shape, generator=self.rng) * scale)

    def near(self, x, noise):
        """Rows that resemble those of x, on average as much as `noise` leaves of them."""
        return on_grid(x + torch.randn(x.shape, generator=self.rng) * noise)


def on_grid(x):
    return (x * GRID).round() / GRID


def cosines(x, y):
    return F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).T


def dots(x, y):
    return x @ y.T


def negative_squared_distances(x, y):
    return -(x[:, None] - y[None]).square().sum(-1)


SIMILARITIES = {"cos": cosines, "dot": dots, "negative_squared_euclidean": negative_squared_distances}


def clear(differences):
    return bool((differences.abs() > CLEAR).all())


class Family:
    """One file: inputs by name, and the cases that are computed from them."""

    def __init__(self, name, *packages):
        self.name, self.packages = name, ("torch", *packages)
        self.inputs, self.cases, self.rejected = {}, [], []

    def group(self, key, draw, specs, acceptable=lambda inputs: True):
        """Draws acceptable inputs, by seed, until the worst conditioned case of them is well conditioned, or takes the best."""
        best, chosen = FLOOR, None
        for seed in range(ATTEMPTS):
            inputs = draw(Draw(seed))
            if not acceptable(inputs):
                continue
            cases = []
            for spec in specs:
                case, condition = compute(key, inputs, **spec)
                if condition <= best:
                    break
                cases.append((condition, case))
            else:
                best, chosen = min(condition for condition, _ in cases), (inputs, cases)
                if best > ENOUGH:
                    break
        assert chosen, f"{self.name}, {key}: no acceptable inputs"
        self.inputs[key] = {name: plain(x) for name, x in chosen[0].items()}
        self.cases += [case for _, case in chosen[1]]

    def reject(self, options, construct):
        """Records that the library refuses these options, and its words."""
        try:
            construct()
        except (ValueError, TypeError, IndexError) as error:
            self.rejected.append({"options": options, "error": type(error).__name__, "message": without_sets(str(error))})
        else:
            raise AssertionError(f"accepted: {options}")

    def write(self):
        names = [case["name"] for case in self.cases]
        assert len(set(names)) == len(names), "names of cases must differ"
        dump = lambda x: json.dumps(x, separators=(",", ":"), allow_nan=False)
        block = lambda lines: ",\n".join(lines)
        versions = {package: version(package) for package in self.packages}
        versions["torch"] = versions["torch"].split("+")[0]
        inputs = block(f"{dump(key)}:{dump(x)}" for key, x in self.inputs.items())
        rejected = f',"rejected":[\n{block(map(dump, self.rejected))}\n]' if self.rejected else ""
        text = f'{{"versions":{dump(versions)},"inputs":{{\n{inputs}\n}},"cases":[\n{block(map(dump, self.cases))}\n]{rejected}}}\n'
        json.loads(text)
        path = pathlib.Path(__file__).parent / f"{self.name}.json"
        path.write_text(text)
        print(f"{path.name}: {len(self.cases)} cases, {len(text) / 1000:.0f} kB")


def compute(key, inputs, name, options, loss, parameters={}, reference=None, trivial=False):
    """One case: the value, its rows where the loss has them, and the gradient by every input and parameter that requires one.

    `loss` takes inputs and parameters by name and gives (value, rows or None, the largest score by which tolerances are to be scaled);
    `reference` computes the value once more, by the formula alone. `trivial`: value and gradient are zero by convention.
    """
    fixed = {k: x for k, x in inputs.items() if not differentiable(k, x)}
    leaves = {k: x.clone().requires_grad_() for k, x in inputs.items() if differentiable(k, x)}
    leaves |= {k: torch.tensor(float(x), requires_grad=True) for k, x in parameters.items()}
    value, rows, largest = loss(**fixed, **leaves)
    value.backward()
    if reference is not None:
        check(name, lambda **p: reference(**{k: plain(x) for k, x in inputs.items()}, **p), parameters, value, leaves, max(largest, 1))
    gradient = {k: x.grad for k, x in leaves.items() if x.grad is not None}
    case = {"name": f"{key}: {name}", "options": options, "inputs": key, "parameters": parameters, "largest_score": largest}
    case |= {"value": value.item(), "rows": rows, "gradient": {k: plain(g) for k, g in gradient.items()}}
    kept = {k: x for k, x in case.items() if x not in (None, {})}
    return kept, math.inf if trivial else condition(value, gradient, largest)


def check(name, reference, parameters, value, leaves, largest):
    """That the formula gives the value, and by central differences the gradient by the parameters."""
    expected = reference(**parameters)
    assert abs(value.item() - expected) <= 1e-13 * largest, (name, value.item(), expected)
    for k, x in parameters.items():
        above, below = (reference(**{**parameters, k: x + step}) for step in (STEP, -STEP))
        slope = (above - below) / (2 * STEP)
        found = 0.0 if leaves[k].grad is None else leaves[k].grad.item()
        assert abs(slope - found) <= 1e-7 * largest**2, (name, k, slope, found)


def condition(value, gradient, largest):
    """How many digits cancellation has left PyTorch: log Σ exp − s has few near 0, nor has the gradient by a parameter, a sum of both signs."""
    scalars = [g for g in gradient.values() if g.dim() == 0]
    arrays = [g for g in gradient.values() if g.dim() > 0]
    if not all(torch.isfinite(g).all() for g in gradient.values()) or any(g.abs().max() < 1e-4 for g in arrays):
        return 0.0
    return min(x.abs().item() for x in (value, *scalars)) / largest


def differentiable(name, x):
    return torch.is_tensor(x) and x.is_floating_point() and not name.startswith("guide")


def plain(x):
    return x.tolist() if torch.is_tensor(x) else x


def largest_score(similarity, factor, *arrays):
    """The largest |similarity| between two different rows of the arrays, times the factor."""
    rows = torch.cat([x.detach().reshape(-1, x.shape[-1]) for x in arrays if x is not None])
    s = SIMILARITIES[similarity](rows, rows).abs().fill_diagonal_(0)
    return float(f"{s.max().item() * float(factor.detach() if torch.is_tensor(factor) else factor):.3g}")


def mean_rows(rows, largest):
    """Value, rows and scale of a loss that is the mean of its rows."""
    return rows.mean(), plain(rows.detach()), largest


def without_sets(message):
    """The message without the elements of sets, whose order differs from run to run."""
    while "{" in message:
        start, end = message.index("{"), message.index("}")
        message = message[:start] + "(…)" + message[end + 1 :]
    return message


def describe(options):
    return ", ".join(f"{k} {short(x)}" for k, x in options.items())


def short(x):
    return "+".join(x) if isinstance(x, (list, tuple)) else format(x, ".4g") if isinstance(x, float) else x


LN = math.log
