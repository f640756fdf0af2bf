"""Every layer a spec may use. `Layer` is the closed list: reading it is knowing the language.

A kind lives in the file of its family; adding one is its class there and its name here.
"""

from __future__ import annotations

from typing import Annotated

from dlcli.spec.base import OneOf
from dlcli.spec.model.layers.attention import (
    Attention,
    AttentionPooling,
    MultiHeadAttention,
    PositionEmbedding,
    SinePositionEncoding,
    TransformerEncoder,
)
from dlcli.spec.model.layers.base import LayerSpec, ShapeError
from dlcli.spec.model.layers.composite import Branches, Maxout, Residual, SqueezeExcite
from dlcli.spec.model.layers.convolution import Conv1D, Conv2D, Conv3D, DepthwiseConv2D, SeparableConv2D, ZeroPadding2D
from dlcli.spec.model.layers.dense import ActivationLayer, Dense, LeakyReLU, PReLU
from dlcli.spec.model.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from dlcli.spec.model.layers.recurrent import GRU, LSTM, Bidirectional, SimpleRNN
from dlcli.spec.model.layers.regular import (
    BatchNormalization,
    Dropout,
    GaussianNoise,
    LayerNormalization,
    LocalResponseNormalization,
    SpatialDropout1D,
    SpatialDropout2D,
)
from dlcli.spec.model.layers.shape import Flatten, Rescaling, Reshape

__all__ = ["Layer", "LayerSpec", "ShapeError"]

Layer = Annotated[
    Dense
    | Conv2D
    | DepthwiseConv2D
    | SeparableConv2D
    | Conv1D
    | Conv3D
    | ZeroPadding2D
    | MaxPooling2D
    | AveragePooling2D
    | GlobalAveragePooling2D
    | GlobalMaxPooling2D
    | MaxPooling1D
    | AveragePooling1D
    | GlobalAveragePooling1D
    | GlobalMaxPooling1D
    | MaxPooling3D
    | GlobalAveragePooling3D
    | SimpleRNN
    | LSTM
    | GRU
    | Bidirectional
    | Attention
    | MultiHeadAttention
    | AttentionPooling
    | TransformerEncoder
    | PositionEmbedding
    | SinePositionEncoding
    | Flatten
    | Reshape
    | Rescaling
    | Dropout
    | SpatialDropout1D
    | SpatialDropout2D
    | GaussianNoise
    | BatchNormalization
    | LayerNormalization
    | LocalResponseNormalization
    | ActivationLayer
    | LeakyReLU
    | PReLU
    | Maxout
    | Residual
    | Branches
    | SqueezeExcite,
    OneOf("Layer"),
]

for _composite in (Residual, Branches):  # they hold layers themselves, so they are complete only now
    _composite.model_rebuild(_types_namespace={"Layer": Layer})
