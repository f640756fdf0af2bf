"""Training of hidden layers one by one without labels, before the whole network is trained."""

from typing import Literal

from pydantic import Field

from dlcli.spec.base import Count, Positive, Spec


class RbmPretraining(Spec):
    """Trains each hidden layer as a restricted Boltzmann machine on the outputs of the layer below, from the first one up.

    Such a stack is a deep belief network (Hinton, Osindero and Teh 2006). The machines are scikit-learn's `BernoulliRBM`, which
    is trained by persistent contrastive divergence. Their weights and hidden biases are the initial weights of the layers; no
    labels are read.
    """

    kind: Literal["rbm"]
    epochs: Count = Field(default=10, description="Passes over the training examples for each layer.")
    learning_rate: Positive = Field(default=0.1, description="Learning rate of the machines.")
    batch_size: Count = Field(default=10, description="Examples in a step.")
