"""Train a small neural network on Fisher's Iris data, in plain Python: 4 measures in, 8 neurons, 3 species out.

Writes metrics.json and iris.svg to the output folder. The same seed gives the same network on every machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

from picture import draw

SPECIES = ("setosa", "versicolor", "virginica")
MEASURES = ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm")
TEST_SHARE = 0.3
Vector = list[float]


@dataclass(frozen=True)
class Flower:
    """The four measures of a flower in cm, and the number of its species."""

    measures: Vector
    species: int


def load(path: Path) -> list[Flower]:
    """All flowers of the table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Flower([float(row[name]) for name in MEASURES], SPECIES.index(row["species"])) for row in rows]


def split(flowers: list[Flower], rng: random.Random) -> tuple[list[Flower], list[Flower]]:
    """Training and test flowers, with the same share of every species in both."""
    train: list[Flower] = []
    test: list[Flower] = []
    for species in range(len(SPECIES)):
        own = [flower for flower in flowers if flower.species == species]
        rng.shuffle(own)
        border = round(len(own) * TEST_SHARE)
        test += own[:border]
        train += own[border:]
    return train, test


class Scale:
    """Brings each measure to mean 0 and deviation 1, as seen in the training flowers only."""

    def __init__(self, flowers: list[Flower]) -> None:
        columns = list(zip(*(flower.measures for flower in flowers), strict=True))
        self.means = [sum(column) / len(column) for column in columns]
        self.deviations = [
            math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
            for column, mean in zip(columns, self.means, strict=True)
        ]

    def __call__(self, flower: Flower) -> Vector:
        """The measures of a flower, scaled."""
        return [(x - m) / d for x, m, d in zip(flower.measures, self.means, self.deviations, strict=True)]


class Layer:
    """A fully connected layer. Gradients add up until `step` takes them, with momentum."""

    def __init__(self, inputs: int, outputs: int, rng: random.Random) -> None:
        spread = 1 / math.sqrt(inputs)
        self.weights = [[rng.gauss(0, spread) for _ in range(inputs + 1)] for _ in range(outputs)]  # last: the bias
        self.gradients = [[0.0] * (inputs + 1) for _ in range(outputs)]
        self.velocities = [[0.0] * (inputs + 1) for _ in range(outputs)]

    def forward(self, x: Vector) -> Vector:
        """One sum for each output."""
        return [sum(w * v for w, v in zip(row, [*x, 1.0], strict=True)) for row in self.weights]

    def backward(self, x: Vector, error: Vector) -> Vector:
        """Add the gradient for one example, and pass the error on to the layer below."""
        for row, e in zip(self.gradients, error, strict=True):
            for i, v in enumerate([*x, 1.0]):
                row[i] += e * v
        return [sum(e * row[i] for e, row in zip(error, self.weights, strict=True)) for i in range(len(x))]

    def step(self, rate: float, momentum: float, examples: int) -> None:
        """Move the weights against the mean gradient."""
        for weights, gradients, velocities in zip(self.weights, self.gradients, self.velocities, strict=True):
            for i, gradient in enumerate(gradients):
                velocities[i] = momentum * velocities[i] - rate * gradient / examples
                weights[i] += velocities[i]
                gradients[i] = 0.0


class Network:
    """Measures -> tanh neurons -> softmax over the species."""

    def __init__(self, rng: random.Random, neurons: int = 8) -> None:
        self.hidden = Layer(len(MEASURES), neurons, rng)
        self.output = Layer(neurons, len(SPECIES), rng)

    def probabilities(self, x: Vector) -> Vector:
        """How probable each species is."""
        return softmax(self.output.forward([math.tanh(v) for v in self.hidden.forward(x)]))

    def learn(self, x: Vector, species: int) -> None:
        """Add the gradient of the cross-entropy for one flower."""
        active = [math.tanh(v) for v in self.hidden.forward(x)]
        guess = softmax(self.output.forward(active))
        error = [p - (species == i) for i, p in enumerate(guess)]
        below = self.output.backward(active, error)
        self.hidden.backward(x, [e * (1 - a * a) for e, a in zip(below, active, strict=True)])

    def step(self, rate: float, momentum: float, examples: int) -> None:
        """Let both layers move."""
        self.hidden.step(rate, momentum, examples)
        self.output.step(rate, momentum, examples)


def softmax(scores: Vector) -> Vector:
    """Probabilities in proportion to e to the score."""
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def loss(network: Network, scale: Scale, flowers: list[Flower]) -> float:
    """Mean cross-entropy in nats; guessing at random gives ln 3 = 1.0986."""
    return -sum(math.log(network.probabilities(scale(f))[f.species]) for f in flowers) / len(flowers)


def predict(network: Network, scale: Scale, flower: Flower) -> int:
    """The most probable species."""
    chances = network.probabilities(scale(flower))
    return chances.index(max(chances))


def main() -> None:
    """Learn, print how it goes, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output"))
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1936)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    rng = random.Random(options.seed)
    train, test = split(load(Path(__file__).parent / "iris.csv"), rng)
    scale, network = Scale(train), Network(rng)
    print(f"{len(train)} flowers to learn from, {len(test)} to test on")

    began = time.monotonic()
    curve: list[tuple[int, float, float]] = []
    for epoch in range(options.epochs + 1):
        if epoch:
            for flower in train:
                network.learn(scale(flower), flower.species)
            network.step(rate=0.1, momentum=0.9, examples=len(train))
        if epoch % 5 == 0 or epoch == options.epochs:
            curve.append((epoch, loss(network, scale, train), loss(network, scale, test)))
        if epoch % 20 == 0:
            print(f"epoch {epoch:4d}  training loss {curve[-1][1]:.4f}  test loss {curve[-1][2]:.4f}")
    seconds = time.monotonic() - began

    guesses = [predict(network, scale, flower) for flower in test]
    right = sum(guess == flower.species for guess, flower in zip(guesses, test, strict=True))
    confusion = [[0] * len(SPECIES) for _ in SPECIES]
    for guess, flower in zip(guesses, test, strict=True):
        confusion[flower.species][guess] += 1
    metrics = {
        "test_accuracy": right / len(test),
        "train_accuracy": sum(predict(network, scale, f) == f.species for f in train) / len(train),
        "test_loss": curve[-1][2],
        "train_loss": curve[-1][1],
        "confusion": {"rows": "true species", "columns": "predicted", "species": SPECIES, "counts": confusion},
        "train_flowers": len(train),
        "test_flowers": len(test),
        "epochs": options.epochs,
        "seed": options.seed,
        "training_seconds": round(seconds, 3),
    }
    (options.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    petals = [(*flower.measures[2:], flower.species) for flower in train]
    tested = [(*f.measures[2:], f.species, guess) for f, guess in zip(test, guesses, strict=True)]
    (options.output / "iris.svg").write_text(draw(SPECIES, curve, petals, tested, confusion), encoding="utf-8")
    print(f"{right} of {len(test)} test flowers recognised ({right / len(test):.1%}) after {seconds:.1f} s of training")
    print(f"wrote metrics.json and iris.svg to {options.output}")


if __name__ == "__main__":
    main()
