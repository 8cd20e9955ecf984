"""CPython compiled to WebAssembly: a machine without files, network or processes, on any system that wasmtime runs on."""

from llmpolicy.errors import SandboxUnavailable
from llmpolicy.sandbox.slot import Start


def wasm_starter() -> Start:
    raise SandboxUnavailable("wasmtime is not installed; `pip install 'llmpolicy[wasm]'`")
