"""Accelerators as their makers publish them, and how much of that is reached."""

from dataclasses import dataclass

READING = 0.80
"""Of the peak bandwidth, while the weights of a decoding step are read."""
CALL = 1e-4
"""Seconds a layer of a decoding step takes beside that: kernels are started one after another.
Both are read off vLLM 0.6.3 with Qwen2.5-0.5B and 7B on an A100; 1.5B, 14B and 32B are held out.
"""
USABLE = 0.90
"""Of a device's memory; what is left is the framework's."""


@dataclass(frozen=True, slots=True)
class Device:
    """Peak dense bfloat16 products in FLOP/s, bytes, and bytes a second; ``utilisation`` is the
    share of the first that passes over many tokens reach.
    """

    flops: float
    memory: float
    bandwidth: float
    utilisation: float

    @property
    def rate(self) -> float:
        """FLOP/s that are reached."""
        return self.flops * self.utilisation

    @property
    def room(self) -> float:
        """Bytes that can be used."""
        return self.memory * USABLE


DEVICES = {
    "h100": Device(989.4e12, 80e9, 3.35e12, 0.45),
    "h200": Device(989.4e12, 141e9, 4.8e12, 0.45),
    "a100": Device(312e12, 80e9, 2.039e12, 0.62),
    "rtx4090": Device(165.2e12, 24e9, 1.008e12, 0.45),
}
"""Peaks of the first three (SXM) from NVIDIA's data sheets, of the last from its Ada whitepaper;
utilisation of H100 and A100 from 80 runs of llm-foundry (scripts/train/benchmarking), recomputation
counted, of the others assumed.
"""
