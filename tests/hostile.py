"""Programs that mean harm. Run them in a sandbox only, with a short limit: each prints ESCAPED when
it got what it wanted.

``@CANARY@`` is a file of the host, ``@LINK@`` a link to it, ``@MARK@`` a path in a folder that
everyone may write, ``@PORT@`` a TCP and UDP port that listens, ``@ABSTRACT@`` and ``@SOCKET@`` Unix
sockets that listen, ``@PARENT@`` the process that asked for the run.
"""

LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"

HOSTILE = {
    # never ending
    "loop": "while True: pass",
    "loop that ignores signals": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    try:
        while True: pass
    except BaseException: pass
""",
    "sleep": "import time; time.sleep(1000)",
    "deadlock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "raise the limits": """
import resource
for name in ("CPU", "AS", "FSIZE", "NPROC", "NOFILE"):
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (resource.RLIM_INFINITY,) * 2)
        print("ESCAPED", name)
    except (OSError, ValueError): pass
while True: pass
""",
    "power": "10 ** (10 ** 9)",
    "regular expression": "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "interval timer that swallows the end": """
import signal
signal.signal(signal.SIGXCPU, lambda *_: None)
while True: pass
""",
    # many of something
    "fork bomb": """
import os
made = 0
for _ in range(40):
    try:
        if os.fork() == 0: os._exit(0)
        made += 1
    except OSError: pass
print("ESCAPED" if made else "", made)
""",
    "fork forever": """
import os
while True:
    try: os.fork()
    except OSError: pass
""",
    "vfork and posix_spawn": """
import os, subprocess
for start in (lambda: os.posix_spawn("/bin/true", ["true"], {}), lambda: subprocess.run(["/bin/true"]), lambda: 1 / (os.system("true") == 0),
              lambda: os.popen("echo x").read()[0], lambda: os.execv("/bin/true", ["true"])):
    try: start(); print("ESCAPED")
    except BaseException: pass
""",
    "fork by the raw call": LIBC + """
for call in (57, 58, 56, 435, 220):
    if libc.syscall(call, 17, 0, 0, 0, 0) == 0: os._exit(0)
    if ctypes.get_errno() not in (1, 38, 13, 22, 14): print("ESCAPED", call, ctypes.get_errno())
""",
    "processes by multiprocessing": """
import multiprocessing
def work(): print("ESCAPED", flush=True)
if __name__ == "__main__":
    for way in ("fork", "spawn", "forkserver"):
        try:
            p = multiprocessing.get_context(way).Process(target=work); p.start(); p.join(1)
        except BaseException: pass
""",
    "thread bomb": """
import threading, time
threading.stack_size(32768)
made = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); made += 1
except BaseException as error: pass
print("ESCAPED" if made > 1000 else "", made, flush=True)
while True: pass
""",
    "many threads": """
import threading, time
made = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); made += 1
except BaseException as error: pass
print("ESCAPED" if made > 1000 else "", made)
""",
    "daemon": """
import os, time
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3); open("@MARK@", "w").write("ESCAPED")
except BaseException: pass
""",
    # memory
    "two gigabytes": "x = bytearray(2 * 2**30); print('ESCAPED', len(x))",
    "memory in small pieces": """
kept = []
try:
    while True: kept.append(bytearray(2**20))
except MemoryError: pass
print("ESCAPED" if len(kept) > 1000 else "")
""",
    "memory map": "import mmap; m = mmap.mmap(-1, 2 * 2**30); print('ESCAPED')",
    "memory file": LIBC + """
fd = os.memfd_create("x") if hasattr(os, "memfd_create") else -1
if fd >= 0: print("ESCAPED", fd)
""",
    "shared memory": LIBC + "if libc.shmget(0, 2**30, 0o1600) >= 0: print('ESCAPED')",
    "memory of pipes": """
import os
ends = []
try:
    while True:
        ends.append(os.pipe()); os.set_blocking(ends[-1][1], False); os.write(ends[-1][1], b"x" * 65536)
except BaseException: pass
print("ESCAPED" if len(ends) > 100 else "")
""",
    # disk and output
    "two gigabytes printed": """
while True: print("x" * 2**20)
""",
    "two gigabytes printed raw": """
import os
while True:
    for fd in range(1, 64):
        try: os.write(fd, b"x" * 2**20)
        except OSError: pass
""",
    "large file": """
for folder in ("/tmp", "/var/tmp", "/dev/shm", "/", "."):
    try:
        with open(folder + "/llmpolicy-hostile", "wb") as file:
            for _ in range(600): file.write(b"x" * 2**20)
        print("ESCAPED", folder)
    except OSError: pass
""",
    "many files": """
made = 0
for folder in ("/tmp", "/var/tmp", "/dev/shm", "/", "/dev"):
    for number in range(200):
        try: open(f"{folder}/llmpolicy-hostile-{number}", "x").close(); made += 1
        except OSError: break
print("ESCAPED" if made else "")
""",
    "a file of mine": "open('@MARK@', 'w').write('x'); print('ESCAPED')",
    "a folder, a link, a node": """
import os
for attempt in (lambda: os.mkdir("@MARK@"), lambda: os.symlink("/", "@MARK@"), lambda: os.link("@CANARY@", "@MARK@"),
                lambda: os.mkfifo("@MARK@"), lambda: os.rename("@CANARY@", "@MARK@"), lambda: os.unlink("@CANARY@"),
                lambda: os.truncate("@CANARY@", 0), lambda: os.chmod("@CANARY@", 0), lambda: os.utime("@CANARY@")):
    try: attempt()
    except BaseException: pass
""",
    # reading
    "read a file": "print(open('@CANARY@').read())",
    "read through a link": "print(open('@LINK@').read())",
    "read the users": "print('ESCAPED', open('/etc/passwd').read())",
    "read by way of /proc": """
import os
for path in ("/proc/self/root@CANARY@", "/proc/1/root@CANARY@", "/proc/@PARENT@/root@CANARY@", "/proc/self/cwd/..@CANARY@",
             "/proc/thread-self/root@CANARY@"):
    try: print("ESCAPED", open(path).read())
    except OSError: pass
""",
    "read other processes": """
import os
for name in ("environ", "mem", "maps", "cmdline", "fd/0"):
    for process in ("@PARENT@", str(os.getppid()) if hasattr(os, "getppid") else "1", "1"):
        try:
            with open(f"/proc/{process}/{name}", "rb") as file: print("ESCAPED", name, file.read(10))
        except OSError: pass
""",
    "read the environment": """
import os
if os.environ or os.environb: print("ESCAPED", dict(os.environ))
try: print("ESCAPED" if open("/proc/self/environ").read() else "")
except OSError: pass
""",
    "list folders": """
import os
for folder in ("/", "/home", "/root", "/etc", "/tmp", "/proc", os.path.dirname("@CANARY@")):
    try:
        if any("llmpolicy" in name or name == "passwd" for name in os.listdir(folder)): print("ESCAPED", folder)
    except OSError: pass
""",
    "descriptors left open": """
import os, stat
for fd in range(3, 256):
    try: mode = os.fstat(fd).st_mode
    except OSError: continue
    if stat.S_ISSOCK(mode): print("ESCAPED", fd, oct(mode))
    try:
        if "etc" in os.listdir(fd) or "canary" in os.listdir(fd): print("ESCAPED", fd)
    except OSError: pass
    try:
        if b"CANARY" in os.pread(fd, 100000, 0): print("ESCAPED", fd)
    except OSError: pass
""",
    "leave by a folder that is open": """
import os
for fd in range(0, 64):
    try: print("ESCAPED", os.open("..@CANARY@", os.O_RDONLY, dir_fd=fd))
    except OSError: pass
""",
    "open by handle": LIBC + """
handle = ctypes.create_string_buffer(128)
if libc.syscall(304, -100, handle, 0) != -1: print("ESCAPED")
if libc.syscall(303, -100, b"/etc/passwd", handle, handle, 0) != -1: print("ESCAPED")
""",
    # network
    "TCP": "import socket; s = socket.create_connection(('127.0.0.1', @PORT@), 1); s.send(b'x'); print('ESCAPED')",
    "UDP": "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', @PORT@)); print('ESCAPED')",
    "abstract Unix socket": "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0@ABSTRACT@'); print('ESCAPED')",
    "Unix socket of a file": "import socket; s = socket.socket(socket.AF_UNIX); s.connect('@SOCKET@'); print('ESCAPED')",
    "datagram from a pair": """
import socket
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendto(b"x", "\\0@ABSTRACT@"); print("ESCAPED")
""",
    "message from a pair": """
import socket
a, b = socket.socketpair()
for send in (lambda: a.sendto(b"x", "\\0@ABSTRACT@"), lambda: a.sendmsg([b"x"], [], 0, "\\0@ABSTRACT@"), lambda: a.connect("\\0@ABSTRACT@")):
    try: send(); print("ESCAPED")
    except OSError: pass
""",
    "netlink, packet, vsock": """
import socket
for family, kind in ((16, 3), (17, 3), (40, 1), (38, 5), (31, 3), (2, 3), (10, 1)):
    try: socket.socket(family, kind); print("ESCAPED", family)
    except OSError: pass
""",
    "listen": "import socket; s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); print('ESCAPED')",
    # signals and other processes
    "signal the parent": """
import os, signal
for pid in (os.getppid(), @PARENT@, 1, 0, -1):
    for number in (0, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        try: os.kill(pid, number); print("ESCAPED", pid)
        except OSError: pass
for attempt in (lambda: os.killpg(os.getpgid(os.getppid()), 9), lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)):
    try: attempt(); print("ESCAPED")
    except OSError: pass
""",
    "signal by the raw calls": LIBC + """
for call, arguments in ((62, (os.getppid(), 9)), (200, (os.getppid(), 9)), (234, (os.getppid(), os.getppid(), 9)), (129, (os.getppid(), 9, 0)), (297, (os.getppid(), os.getppid(), 9, 0)), (424, (3, 9, 0, 0))):
    if libc.syscall(call, *arguments) == 0: print("ESCAPED", call)
""",
    "signal by a file's owner": """
import fcntl, os
ends = os.pipe()
for command, value in ((8, os.getppid()), (10, 9)):
    try: fcntl.fcntl(ends[0], command, value); print("ESCAPED", command)
    except OSError: pass
""",
    "trace the parent": LIBC + """
for request in (16, 0x4206):
    if libc.ptrace(request, os.getppid(), 0, 0) == 0: print("ESCAPED", request)
if libc.ptrace(0, 0, 0, 0) == 0: print("ESCAPED traceme")
buffer = ctypes.create_string_buffer(64)
if libc.process_vm_readv(os.getppid(), buffer, 1, buffer, 1, 0) >= 0: print("ESCAPED")
""",
    "limits and priority of the parent": """
import os, resource
for attempt in (lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)), lambda: resource.prlimit(os.getppid(), resource.RLIMIT_AS), lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
                lambda: os.sched_setaffinity(os.getppid(), {0}), lambda: os.setpriority(os.PRIO_USER, 0, 19)):
    try: attempt(); print("ESCAPED")
    except OSError: pass
""",
    # the kernel's other doors
    "user namespace": LIBC + """
for flags in (0x10000000, 0x20000, 0x40000000, 0x10020000):
    if libc.unshare(flags) == 0: print("ESCAPED", hex(flags))
""",
    "mount, chroot, pivot": LIBC + """
os.chroot("/") if False else None
for attempt in (lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0), lambda: libc.umount2(b"/proc", 2), lambda: libc.chroot(b"/"), lambda: libc.syscall(155, b"/", b"/"),
                lambda: libc.syscall(428, -100, b"/", 1), lambda: libc.syscall(430, b"tmpfs", 0), lambda: libc.setns(0, 0)):
    if attempt() >= 0: print("ESCAPED")
""",
    "become root": """
import os
for attempt in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([0]), lambda: os.setgid(0)):
    try: attempt(); print("ESCAPED")
    except OSError: pass
""",
    "rare system calls": LIBC + """
for name, number in (("io_uring_setup", 425), ("bpf", 321), ("perf_event_open", 298), ("keyctl", 250), ("add_key", 248), ("userfaultfd", 323),
                     ("memfd_secret", 447), ("pidfd_open", 434), ("pidfd_getfd", 438), ("kcmp", 312), ("personality", 135), ("syslog", 103),
                     ("init_module", 175), ("kexec_load", 246), ("reboot", 169), ("swapon", 167), ("acct", 163), ("iopl", 172), ("inotify_init", 253),
                     ("fanotify_init", 300), ("quotactl", 179), ("ptrace", 101), ("semget", 64), ("msgget", 68), ("mq_open", 240), ("seccomp", 317), ("landlock_create_ruleset", 444)):
    if libc.syscall(number, 0, 0, 0, 0, 0) >= 0: print("ESCAPED", name)
""",
    "calls of 32 bits": LIBC + """
if libc.syscall(0x40000000 + 39) > 0: print("ESCAPED x32")
import mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b814000000cd80c3"))  # getpid by int 0x80
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
if call() > 0: print("ESCAPED int 0x80")
""",
    "another filter": LIBC + "if libc.prctl(22, 2, 0, 0, 0) == 0 or libc.prctl(4, 1, 0, 0, 0) == 0 or libc.prctl(1, 0, 0, 0, 0) == 0: print('ESCAPED')",
    "write into the terminal": """
import fcntl
for fd in range(3):
    try: fcntl.ioctl(fd, 0x5412, b"x"); print("ESCAPED")
    except OSError: pass
""",
    # breaking the interpreter
    "segmentation fault": "import ctypes; ctypes.string_at(0)",
    "deep recursion": "import sys; sys.setrecursionlimit(10**9)\nf = lambda: f()\nf()",
    "deep recursion in C": "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)\nimport sys\nsys.setrecursionlimit(10**9)\nrepr(x)",
    "abort": "import os; os.abort()",
    "stop itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "deep source": "eval('(' * 10**6 + ')' * 10**6)",
    "wide source": "exec('x = [' + '1,' * 10**7 + ']')",
}  # fmt: skip
