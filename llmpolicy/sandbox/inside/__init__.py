"""What runs inside a sandbox: the keeper that forks a process for each test, and how that process
confines itself.

These files import only the standard library and each other: they are started by the plain
interpreter, without llmpolicy.
"""
