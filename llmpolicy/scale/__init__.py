"""What training a model of a size comes to on so many GPUs, by arithmetic: no torch, no weights."""

from llmpolicy.scale.devices import DEVICES, Device
from llmpolicy.scale.estimate import Estimate, Load, estimate
from llmpolicy.scale.shape import SHAPES, Shape, shape_of

__all__ = ["DEVICES", "SHAPES", "Device", "Estimate", "Load", "Shape", "estimate", "shape_of"]
