"""The backbones of transfer models. A new one is a row of the table in `applications.py`."""

from typing import Annotated

from dlcli.spec.backbones.applications import Application, MobileNets
from dlcli.spec.backbones.base import BackboneSpec as BackboneSpec
from dlcli.spec.backbones.hub import Hub
from dlcli.spec.backbones.run import RunBackbone
from dlcli.spec.base import OneOf

Backbone = Annotated[Application | MobileNets | Hub | RunBackbone, OneOf("Backbone")]
