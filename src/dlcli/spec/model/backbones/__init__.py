"""The backbones of transfer models. A new one is a row of the table in `applications.py`, or a class and a
member of `Backbone`."""

from typing import Annotated

from dlcli.spec.base import OneOf
from dlcli.spec.model.backbones.applications import Application, MobileNets
from dlcli.spec.model.backbones.base import BackboneSpec as BackboneSpec
from dlcli.spec.model.backbones.hub import Hub
from dlcli.spec.model.backbones.keras_hub import KerasHub
from dlcli.spec.model.backbones.run import RunBackbone

Backbone = Annotated[Application | MobileNets | Hub | KerasHub | RunBackbone, OneOf("Backbone")]
