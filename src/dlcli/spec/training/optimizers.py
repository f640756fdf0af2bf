"""Every optimizer, with Keras's own settings and defaults."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from dlcli.spec.base import Count, Fraction, KerasSpec, NotNegative, OneOf, Positive
from dlcli.spec.training.schedules import Rate, ScheduleSpec

_MOMENTUM = "Momentum: fraction of the previous step that is kept."
_EPSILON = "Small constant for numerical stability."
_BETA_1 = "Decay of the running mean of gradients."
_BETA_2 = "Decay of the running mean of squared gradients."
_RHO = "Decay of the running mean of squared gradients."
_ACCUMULATOR = "Initial value of the sum of squared gradients."
_CENTERED = "Whether gradients are normalised by their variance."
_AMSGRAD = "Whether the AMSGrad variant is used."
_NESTEROV = "Whether Nesterov momentum is used."


class OptimizerSpec(KerasSpec):
    """What every optimizer takes."""

    kind: str
    learning_rate: Rate = Field(default=1e-3, description="Learning rate: a number or a schedule.")
    weight_decay: NotNegative | None = Field(
        default=None, description="Weight decay: fraction of the weights that is subtracted at every step."
    )
    clipnorm: Positive | None = Field(default=None, description="Maximum norm of the gradient of each variable.")
    clipvalue: Positive | None = Field(default=None, description="Maximum absolute value of a gradient.")
    global_clipnorm: Positive | None = Field(default=None, description="Maximum global norm of all gradients.")
    use_ema: bool = Field(default=False, description="Whether a moving average of the weights is kept and evaluated.")
    ema_momentum: Fraction = Field(default=0.99, description="Momentum of the moving average.")
    gradient_accumulation_steps: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="Number of batches whose gradients are averaged for one step."
    )

    def for_steps(self, steps: int) -> Self:
        """Returns the optimizer with its schedule's length filled in for a stage of `steps` steps."""
        if not isinstance(self.learning_rate, ScheduleSpec):
            return self
        return self.model_copy(update={"learning_rate": self.learning_rate.for_steps(steps)})

    def stretched(self, old: int, new: int) -> Self:
        """Returns the optimizer with its schedule drawn out from a stage of `old` steps to one of `new` steps."""
        if not isinstance(self.learning_rate, ScheduleSpec):
            return self
        return self.model_copy(update={"learning_rate": self.learning_rate.stretched(old, new)})

    def of_any_length(self) -> Self:
        """Returns the optimizer with its schedule's length set by the stage."""
        if not isinstance(self.learning_rate, ScheduleSpec):
            return self
        return self.model_copy(update={"learning_rate": self.learning_rate.of_any_length()})


class SGD(OptimizerSpec):
    """Gradient descent, with optional momentum."""

    keras_class: ClassVar[str] = "optimizers.SGD"
    kind: Literal["sgd"]
    learning_rate: Rate = Field(default=0.01, description="Learning rate: a number or a schedule.")
    momentum: Fraction = Field(default=0.0, description=_MOMENTUM)
    nesterov: bool = Field(default=False, description=_NESTEROV)


class RMSprop(OptimizerSpec):
    """Divides by a running root mean square of the gradients (Hinton)."""

    keras_class: ClassVar[str] = "optimizers.RMSprop"
    kind: Literal["rmsprop"]
    rho: Fraction = Field(default=0.9, description=_RHO)
    momentum: Fraction = Field(default=0.0, description=_MOMENTUM)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)
    centered: bool = Field(default=False, description=_CENTERED)


class Adagrad(OptimizerSpec):
    """Divides by the root of the sum of all squared gradients so far: for sparse data."""

    keras_class: ClassVar[str] = "optimizers.Adagrad"
    kind: Literal["adagrad"]
    initial_accumulator_value: NotNegative = Field(default=0.1, description=_ACCUMULATOR)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)


class Adadelta(OptimizerSpec):
    """Adagrad with a window of gradients (Zeiler 2012); the learning rate of the paper is 1.0."""

    keras_class: ClassVar[str] = "optimizers.Adadelta"
    kind: Literal["adadelta"]
    rho: Fraction = Field(default=0.95, description=_RHO)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)


class Adam(OptimizerSpec):
    """Momentum and adaptive rates for every weight (Kingma, Ba 2014): the usual first choice."""

    keras_class: ClassVar[str] = "optimizers.Adam"
    kind: Literal["adam"]
    beta_1: Fraction = Field(default=0.9, description=_BETA_1)
    beta_2: Fraction = Field(default=0.999, description=_BETA_2)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)
    amsgrad: bool = Field(default=False, description=_AMSGRAD)


class Adamax(OptimizerSpec):
    """Adam with the largest instead of the mean squared gradient."""

    keras_class: ClassVar[str] = "optimizers.Adamax"
    kind: Literal["adamax"]
    beta_1: Fraction = Field(default=0.9, description=_BETA_1)
    beta_2: Fraction = Field(default=0.999, description=_BETA_2)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)


class Nadam(OptimizerSpec):
    """Adam with Nesterov momentum."""

    keras_class: ClassVar[str] = "optimizers.Nadam"
    kind: Literal["nadam"]
    beta_1: Fraction = Field(default=0.9, description=_BETA_1)
    beta_2: Fraction = Field(default=0.999, description=_BETA_2)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)


class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay (Loshchilov, Hutter 2017)."""

    keras_class: ClassVar[str] = "optimizers.AdamW"
    kind: Literal["adamw"]
    weight_decay: NotNegative | None = Field(
        default=0.004, description="Weight decay: fraction of the weights that is subtracted at every step."
    )
    beta_1: Fraction = Field(default=0.9, description=_BETA_1)
    beta_2: Fraction = Field(default=0.999, description=_BETA_2)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)
    amsgrad: bool = Field(default=False, description=_AMSGRAD)


class Lion(OptimizerSpec):
    """Steps by the sign of the momentum (Chen et al. 2023); needs a rate 3 to 10 times smaller than Adam's."""

    keras_class: ClassVar[str] = "optimizers.Lion"
    kind: Literal["lion"]
    beta_1: Annotated[float, Field(gt=0, le=1)] = Field(default=0.9, description="Weight of the momentum in a step.")
    beta_2: Fraction = Field(default=0.99, description="Decay of the momentum.")


class Lamb(OptimizerSpec):
    """Adam with a trust ratio for every layer (You et al. 2019): for very large batches."""

    keras_class: ClassVar[str] = "optimizers.Lamb"
    kind: Literal["lamb"]
    beta_1: Fraction = Field(default=0.9, description=_BETA_1)
    beta_2: Fraction = Field(default=0.999, description=_BETA_2)
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)


class Muon(OptimizerSpec):
    """Orthogonalised momentum for matrices, AdamW for the rest (Jordan et al. 2024)."""

    keras_class: ClassVar[str] = "optimizers.Muon"
    kind: Literal["muon"]
    weight_decay: NotNegative | None = Field(
        default=0.004, description="Weight decay: fraction of the weights that is subtracted at every step."
    )
    adam_beta_1: Fraction = Field(default=0.9, description=_BETA_1)
    adam_beta_2: Fraction = Field(default=0.999, description=_BETA_2)
    adam_weight_decay: NotNegative = Field(default=0.004, description="Weight decay of the variables that AdamW trains.")
    adam_lr_ratio: Positive = Field(default=1.0, description="Learning rate of AdamW, as a multiple of the rate.")
    epsilon: Positive = Field(default=1e-7, description=_EPSILON)
    momentum: Fraction = Field(default=0.95, description=_MOMENTUM)
    nesterov: bool = Field(default=True, description=_NESTEROV)
    ns_steps: Count = Field(default=5, description="Number of Newton-Schulz iterations.")
    rms_rate: Positive = Field(default=0.2, description="Scale that matches AdamW's step size.")


class Ftrl(OptimizerSpec):
    """Follow the regularized leader: for wide, sparse linear models."""

    keras_class: ClassVar[str] = "optimizers.Ftrl"
    kind: Literal["ftrl"]
    learning_rate_power: Annotated[float, Field(le=0)] = Field(default=-0.5, description="Power of the decrease of the rate.")
    initial_accumulator_value: NotNegative = Field(default=0.1, description=_ACCUMULATOR)
    l1_regularization_strength: NotNegative = Field(default=0.0, description="L1 penalty.")
    l2_regularization_strength: NotNegative = Field(default=0.0, description="L2 penalty.")
    l2_shrinkage_regularization_strength: NotNegative = Field(default=0.0, description="L2 penalty on the gradient.")
    beta: NotNegative = Field(default=0.0, description="Beta of the paper.")


class Adafactor(OptimizerSpec):
    """Adam with less memory (Shazeer, Stern 2018)."""

    keras_class: ClassVar[str] = "optimizers.Adafactor"
    kind: Literal["adafactor"]
    beta_2_decay: Annotated[float, Field(lt=0)] = Field(default=-0.8, description="Decay of the second moment's rate.")
    epsilon_1: Positive = Field(default=1e-30, description="Added to squared gradients.")
    epsilon_2: Positive = Field(default=1e-3, description="Smallest scale of a variable.")
    clip_threshold: Positive = Field(default=1.0, description="Largest size of an update.")
    relative_step: bool = Field(default=True, description="Whether the rate falls as 1/sqrt(step).")


Optimizer = Annotated[
    SGD | RMSprop | Adagrad | Adadelta | Adam | Adamax | Nadam | AdamW | Lion | Lamb | Muon | Ftrl | Adafactor,
    OneOf("Optimizer"),
]
