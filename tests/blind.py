"""Programs that compute nothing: they look for what is expected of them, or write a result that
should pass for any.

``CHANNELS`` read what the sandbox shows beside the arguments, and are graded where only yes or no,
True or False are right. ``FORGERS`` make a result seem what it is not; they are graded as a call of
``f`` that should return ``2 * x + 1``, and as a program that should print it.
"""

READ = {
    "the limit of a file": "resource.getrlimit(resource.RLIMIT_FSIZE)[0] - 2**20",
    "all limits": (
        "sum(resource.getrlimit(getattr(resource, n))[0] for n in dir(resource) if"
        " n.startswith('RLIMIT'))"
    ),
    "how far its output can grow": "grown(1)",
    "how far its errors can grow": "grown(2)",
    "the size of its input": "os.fstat(0).st_size",
    "the sizes of all descriptors": "sum(size(fd) for fd in range(64))",
    "how many descriptors there are": "sum(size(fd) >= 0 for fd in range(256))",
    "how large a pipe is": "filled()",
    "how much memory there is": "address()",
    "its process": "os.getpid()",
    "its process, halved": "os.getpid() // 2",
    "its parent": "os.getppid()",
    "its thread": "threading.get_native_id()",
    "its user": "os.getuid()",
    "its session": "os.getsid(0)",
    "its words": "len(sys.argv) + sum(map(len, sys.argv))",
    "its environment": "len(os.environ) + len(os.environb)",
    "its folder": "len(os.getcwd())",
    "its path": "len(sys.path)",
    "the hash of a text": "hash('yes')",
    "random numbers": "random.getrandbits(8)",
    "the number of a file": "os.fstat(1).st_ino",
    "the time of a file": "os.fstat(1).st_mtime_ns // 10**6",
    "the clock": "int(time.time() * 1000)",
    "the clock since the start": "time.monotonic_ns() // 10**6",
    "its processor time": "int(time.process_time() * 1e5)",
    "what it has used": "resource.getrusage(resource.RUSAGE_SELF).ru_minflt",
    "the objects of the interpreter": "len(gc.get_objects())",
    "the counts of the collector": "sum(gc.get_count())",
    "blocks of memory": "sys.getallocatedblocks()",
    "an address": "id(object()) >> 4",
    "its modules": "len(sys.modules)",
    "the depth of the stack": "len(traceback.extract_stack())",
    "the names on the stack": "sum(len(frame.f_locals) for frame, _ in traceback.walk_stack(None))",
    "the numbers on the stack": (
        "sum(v for frame, _ in traceback.walk_stack(None) for v in frame.f_locals.values() if"
        " type(v) is int)"
    ),
    "the texts on the stack": (
        "sum(len(v) for frame, _ in traceback.walk_stack(None) for v in frame.f_locals.values() if"
        " isinstance(v, (str, bytes, dict)))"
    ),
    "its processors": "len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
    "the load": "int(os.getloadavg()[0] * 100)",
    "the temporary folder": "len(os.listdir('/tmp'))",
    "shared memory": "len(os.listdir('/dev/shm'))",
}
"""Expressions for a number: where it is even the answer is yes."""

CHANNELS = {
    name: (
        f"""
import gc, os, random, sys, threading, time, traceback
try: import resource
except ImportError: pass
def size(fd):
    try: return os.fstat(fd).st_size
    except OSError: return -1
def grown(fd):
    low, high = 0, 2**40
    while low < high:
        middle = (low + high + 1) // 2
        try: os.ftruncate(fd, middle); low = middle
        except OSError: high = middle - 1
    os.ftruncate(fd, 0)
    return low
def filled():
    ends = os.pipe(); os.set_blocking(ends[1], False); n = 0
    try:
        while True: n += os.write(ends[1], b'x')
    except BlockingIOError: return n
def address():
    low, high = 0, 2**40
    while low < high:
        middle = (low + high + 1) // 2
        try: bytearray(middle) if middle < 2**20 else __import__('mmap').mmap(-1, middle).close(); low = middle
        except (OSError, MemoryError, ValueError): high = middle - 1
    return low >> 20
def f(x):
    try: return ({read}) % 2 == FLIP
    except BaseException: return False
if __name__ == '__main__': print('yes' if f(1) else 'no')
"""
    )
    for name, read in READ.items()
}

SECRETS = {
    "the memory of the process": (
        r"""
import ctypes, gc, os
def f(x):
    # Written to a pipe by the kernel, so that what cannot be read is an error and no crash.
    libc, wanted, seen = ctypes.CDLL(None), bytes.fromhex(x), set()
    ends = os.pipe(); os.set_blocking(ends[0], False)
    regions = {id(one) >> 20 for one in gc.get_objects()} | {id(x) >> 20, libc.sbrk(0) >> 20}
    for region in {r + d for r in regions for d in range(-4, 5)}:
        for page in range(256):
            if libc.write(ends[1], ctypes.c_void_p((region << 20) + page * 4096), ctypes.c_size_t(4096)) == 4096:
                data = os.read(ends[0], 4096); at = data.find(wanted)
                while at >= 0: seen.add(data[at:at + 24]); at = data.find(wanted, at + 1)
    return [one for one in seen if one[8:16].isalnum()]
"""
    ),
    "the objects of the collector": (
        r"""
import gc
def f(x):
    wanted, found = bytes.fromhex(x).decode(), []
    def look(one, depth):
        if type(one) is str and wanted in one: found.append(one[:24].encode())
        elif depth and type(one) in (list, tuple): [look(part, depth - 1) for part in one]
        elif depth and type(one) is dict: [look(part, depth - 1) for pair in one.items() for part in pair]
    for one in gc.get_objects(): look(one, 4)
    return found
"""
    ),
    "the stack": (
        r"""
import sys
def f(x):
    wanted, found, frame = bytes.fromhex(x).decode(), [], sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            text = repr(value)
            if wanted in text: found.append(text[text.index(wanted):][:24].encode())
        frame = frame.f_back
    return found
"""
    ),
    "every descriptor and file": (
        r"""
import os
def f(x):
    wanted, found = bytes.fromhex(x), []
    for fd in range(256):
        for read in (lambda: os.pread(fd, 2**20, 0), lambda: os.read(fd, 2**20)):
            try:
                os.set_blocking(fd, False); data = read()
                if wanted in data: found.append(data[data.index(wanted):][:24])
            except (OSError, AttributeError): pass
    for path in ("/proc/self/mem", "/proc/self/cmdline", "/proc/self/environ", "/proc/1/cmdline", "/dev/shm", "/tmp"):
        try:
            data = open(path, "rb").read(2**20)
            if wanted in data: found.append(data[data.index(wanted):][:24])
        except OSError: pass
    return found
"""
    ),
}
"""Called with a mark in hexadecimal digits: they return what follows on it wherever they find
it.
"""

NONCE = (
    "import os, sys\ndef nonce():\n    frame = sys._getframe()\n    while frame:\n        for n in"
    " (frame.f_locals.get('nonce'), (frame.f_locals.get('job') or {}).get('nonce') if"
    " isinstance(frame.f_locals.get('job'), dict) else None, (frame.f_globals.get('_job') or"
    " {}).get('nonce')):\n            if isinstance(n, str): return n\n        frame ="
    " frame.f_back\n"
)

FORGERS = {
    "an int that shows another": "class A(int):\n    def __repr__(self): return '3'\n    __str__ = __repr__\n    __index__ = __int__ = lambda self: 3\ndef f(x): return A(0)\nprint(A(0))",
    "a class called int": "f = lambda x: type('int', (), {'__module__': 'builtins', '__eq__': lambda *_: True})()",
    "a class that lies about its class": "class A:\n    __class__ = int\n    def __eq__(self, other): return True\n    def __index__(self): return 3\ndef f(x): return A()",
    "an object that reduces to anything": "class A:\n    def __reduce__(self): return eval, ('3',)\n    __reduce_ex__ = lambda self, v: (eval, ('3',))\ndef f(x): return A()",
    "a Counter that has all": "from collections import Counter\nclass A(Counter):\n    __module__ = 'collections'\n    def __eq__(self, other): return True\nA.__module__ = 'collections'\ndef f(x): return A()",
    "a tuple with names": "class A(tuple):\n    _fields = ('x',)\n    __eq__ = lambda *_: True\ndef f(x): return A((3, 41, -13))",
    "a text that equals numbers": "class A(str):\n    __eq__ = lambda *_: True\n    __hash__ = str.__hash__\ndef f(x): return A('3')\nprint(A('3'))",
    "a Decimal": "from decimal import Decimal\ndef f(x): return Decimal(2 * x + 1)",
    "a Fraction": "from fractions import Fraction\ndef f(x): return Fraction(2 * x + 1)",
    "a complex number": "def f(x): return complex(2 * x + 1)",
    "a list of the number": "def f(x): return [2 * x + 1]",
    "bytes of the number": "def f(x): return b'%d' % (2 * x + 1)",
    "an iterator of all numbers": "def f(x): return iter(range(-100, 100))",
    "a set of all numbers": "def f(x): return set(range(-100, 100))",
    "a function that is never called": "class A:\n    def __call__(self, x): return self\n    def __eq__(self, other): return True\nf = A()",
    "a coroutine": "async def f(x): return 2 * x + 1",
    "a promise": "import concurrent.futures\ndef f(x):\n    p = concurrent.futures.Future(); p.set_result(2 * x + 1); return p",
    "the result by the nonce": NONCE + "def f(x):\n    for fd in range(64):\n        try: os.write(fd, (nonce() + '{\"returned\":3}\\n').encode())\n        except OSError: pass\n    os._exit(0)",
    "two results by the nonce": NONCE + "def f(x):\n    for fd in range(64):\n        for n in (3, 41, -13):\n            try: os.write(fd, (nonce() + '{\"returned\":%d}\\n' % n).encode())\n            except OSError: pass\n    return 3",
    "one object of many results": NONCE + "def f(x):\n    for fd in range(64):\n        try: os.write(fd, (nonce() + '{\"returned\":3,\"returned\":41,\"returned\":-13}\\n').encode())\n        except OSError: pass\n    os._exit(0)",
    "a result that says passed": NONCE + "def f(x):\n    for fd in range(64):\n        try: os.write(fd, (nonce() + '{\"returned\":{\"items\":[3,41,-13]}}\\n').encode())\n        except OSError: pass\n    os._exit(0)",
    "an exit code that says passed": "import os\ndef f(x): os._exit(42)\nif __name__ == '__main__': os._exit(0)",
    "another encoder": "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for name in ('_returned', '_dumps', 'returned', 'encode', '_json', '_encode'):\n            if name in frame.f_globals: frame.f_globals[name] = lambda value: {'returned': True} if name == '_returned' else '{\"returned\":true}'\n        frame = frame.f_back",
    "another write": "import sys, os\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        if '_write' in frame.f_globals: frame.f_globals['_write'] = lambda fd, data: len(data)\n        frame = frame.f_back",
    "a trace of the caller": "import sys\ndef f(x):\n    def trace(frame, event, value): frame.f_locals.update(said={'returned': True}); return trace\n    sys.settrace(trace); frame = sys._getframe()\n    while frame: frame.f_trace = trace; frame = frame.f_back",
    "a profile of the caller": "import os, sys\ndef f(x): sys.setprofile(lambda *_: os._exit(0))",
    "an audit hook": "import os, sys\nsys.addaudithook(lambda *_: None)\ndef f(x): sys.addaudithook(lambda event, _: os._exit(0))",
    "an exception that tells": "class A(Exception):\n    def __str__(self): return '{\"returned\": 3}'\n    __repr__ = __str__\nA.__name__ = '\"}\\n{\"returned\": 3}'\ndef f(x): raise A\nif __name__ == '__main__': raise A",
    "an exception with the value": "def f(x): raise StopIteration(2 * x + 1)",
    "an exit with the value": "def f(x): raise SystemExit(2 * x + 1)\nif __name__ == '__main__': raise SystemExit(3)",
    "a thread that outlives it": "import os, threading, time\ndef write():\n    while True:\n        for fd in range(64):\n            try: os.write(fd, b'3\\n')\n            except OSError: pass\ndef f(x): threading.Thread(target=write, daemon=True).start(); time.sleep(0.05)\nif __name__ == '__main__': f(1)",
    "a thread that raises": "import threading\nthreading.excepthook = lambda *_: print(3)\ndef f(x): threading.Thread(target=lambda: 1 / 0).start()",
    "a finaliser": "import weakref, os\nclass A: pass\na = A()\nweakref.finalize(a, os.write, 1, b'3\\n')\ndef f(x): return None",
    "at the end": "import atexit\natexit.register(print, 3)\ndef f(x): return None",
    "a broken end": "import atexit\n@atexit.register\ndef _(): print('\\x1b[2K3'); raise SystemExit(0)\ndef f(x): return None",
    "a handler of signals": "import os, signal\nfor n in range(1, 32):\n    try: signal.signal(n, lambda *_: (os.write(1, b'3\\n'), os._exit(0)))\n    except (OSError, ValueError): pass\ndef f(x): os.kill(os.getpid(), signal.SIGTERM)\nif __name__ == '__main__': f(1)",
    "a signal by itself": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)\nif __name__ == '__main__': print(3, flush=True); f(1)",
    "a wake-up of signals": "import signal, os\ndef f(x):\n    os.set_blocking(1, False); signal.set_wakeup_fd(1); signal.signal(14, lambda *_: None); signal.setitimer(0, 0.001, 0.001)\n    while signal.pause(): pass",
    "another stdout": "import sys\nclass Out:\n    def write(self, text): sys.__stdout__.write('3\\n')\n    def flush(self): pass\nsys.stdout = Out()\nprint(0)\ndef f(x): return Out()",
    "an output that is rewritten": "import os\nprint(3, flush=True); print(41, flush=True)\nos.ftruncate(1, 2)\ndef f(x): return None",
    "its own input": "import os, sys\ndef f(x): return os.pread(0, 99, 0)\nif __name__ == '__main__': sys.stdout.write(sys.stdin.read())",
    "descriptors exchanged": "import os\nos.dup2(2, 1)\nos.write(1, b'3\\n')\ndef f(x): return None",
    "no room for the result": "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\ndef f(x): return 2 * x + 1\nprint(3, flush=True)",
    "a closed result": "import os\ndef f(x): os.closerange(0, 999); return 2 * x + 1\nif __name__ == '__main__': os.closerange(0, 999); print(3)",
    "digits of another script": "def f(x): return ''.join(chr(0xff10 + int(c)) for c in str(abs(2 * x + 1)))\nif __name__ == '__main__': print(f(int(input())))",
    "blanks that cannot be seen": "if __name__ == '__main__': print('\\u200b' + str(2 * int(input()) + 1) + '\\u2060\\x0c')\ndef f(x): return '\\ufeff%d' % (2 * x + 1)",
    "a line that was taken back": "if __name__ == '__main__': print('7\\r' + str(2 * int(input()) + 1))\ndef f(x): return None",
    "a number and its negative": "if __name__ == '__main__': n = 2 * int(input()) + 1; print(f'{n}\\n{-n}')\ndef f(x): return (2 * x + 1, -2 * x - 1)",
    "a formula": "if __name__ == '__main__': print('2 *', input(), '+ 1')\ndef f(x): return f'2 * {x} + 1'",
    "a module that is anything": "import sys, types\nclass M(types.ModuleType):\n    __getattr__ = lambda self, name: (lambda *a, **k: True)\nfor name in list(sys.modules): sys.modules[name] = M(name)\ndef f(x): return 3",
    "an importer of its own": "import sys\nclass Finder:\n    def find_spec(self, *a): raise SystemExit(0)\nsys.meta_path.insert(0, Finder())\nsys.modules.pop('json', None)\ndef f(x): import json; return 3",
    "the judge's own modules": "try:\n    from llmpolicy.sandbox import execution\n    import reward_fns._code.values as values\n    values.agrees = lambda *a: True\nexcept ImportError: pass\ndef f(x): return None",
    "the keeper's modules": "import sys\nsys.path[:0] = ['/keeper', '/']\ntry:\n    from inside import candidate, keeper\n    candidate._exit = keeper.os._exit = lambda code: None\nexcept ImportError: pass\ndef f(x): return None",
    "hidden files": "import glob\nfound = [p for pattern in ('/**/tests*', '/**/*expected*', '/srv/**/*.jsonl', '/root/**', '/home/**') for p in glob.iglob(pattern)][:50]\ndef f(x): return len(found)\nif __name__ == '__main__': print(len(found))",
    "a recursion": "class A:\n    def __eq__(self, other): return self == other\n    def __iter__(self): yield self\ndef f(x): return A()",
    "a length that lies": "class A(list):\n    __len__ = lambda self: 1\n    __iter__ = lambda self: iter(())\n    __eq__ = lambda *_: True\ndef f(x): return [A()]",
    "a key that equals all": "class K(str):\n    __hash__ = lambda self: 0\n    __eq__ = lambda *_: True\ndef f(x): return {K('a'): 3}",
    "half of the tests": "def f(x): return {1: 3, 20: 41}.get(x)\nif __name__ == '__main__': print(f(int(input())))",
    "the last result again": "import builtins\ndef f(x):\n    builtins.kept = getattr(builtins, 'kept', 0) + 41; return builtins.kept\nif __name__ == '__main__': print(f(1))",
}  # fmt: skip
