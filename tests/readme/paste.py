"""Pastes standard input into an interactive shell at a pseudo-terminal, as a terminal does.

    python3 paste.py (typed|bracketed) OUT SHELL [ARGUMENT…] < TEXT

What the commands write to their standard output is in the file OUT afterwards. Prompts, the echo of
what was pasted, errors and whatever else is on the screen go to standard output. `bracketed` is how
terminals paste for shells that ask for it (xterm's mode 2004); else it is as if it were typed.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

SECONDS = 60
PROMPT = "ready> "

mode, out, *shell = sys.argv[1:]
text = sys.stdin.read().replace("\n", "\r")
deadline = time.monotonic() + SECONDS

child, terminal = pty.fork()
if child == 0:
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"PS1": PROMPT, "PS2": "> ", "TERM": "xterm", "HOME": "/nonexistent"}
    os.execvpe(shell[0], shell, environment)
# So wide that no line is broken.
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 4000, 0, 0))
os.set_blocking(terminal, False)
screen = b""


def exchange(keys, until):
    """Sends keys, and reads until there is something new on the screen."""
    global screen
    pending, start = keys.encode(), len(screen)
    while pending or until.encode() not in screen[start:]:
        left = deadline - time.monotonic()
        readable, writable, _ = select.select([terminal], [terminal] if pending else [], [], max(left, 0))
        if left <= 0:
            raise TimeoutError(f"no {until!r} on the screen")
        if readable:
            screen += os.read(terminal, 65536)
        if writable:
            pending = pending[os.write(terminal, pending[:512]) :]


try:
    exchange("", PROMPT)
    exchange(f"exec > '{out}'\r", PROMPT)
    if mode == "bracketed":
        if b"\x1b[?2004h" not in screen:
            raise ValueError(f"{shell[0]} doesn't ask for brackets")
        text = f"\x1b[200~{text}\x1b[201~\r"
    # The echo of this is not what it says.
    exchange(text + 'echo "the"" end" >&2\r', "the end")
except (OSError, ValueError) as error:
    sys.exit(f"{error}; on the screen:\n{screen.decode(errors='replace')}")
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
sys.stdout.write(screen.decode(errors="replace"))
