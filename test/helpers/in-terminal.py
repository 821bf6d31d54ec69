"""Runs a command in a terminal of its own: what comes on standard input is typed there, and what it shows goes to standard
output. When the command has ended, or standard input was closed (then the terminal hangs up), a line of JSON on standard
error says its exit code or signal, and the terminal's modes before and after."""
import fcntl, json, os, pty, select, struct, sys, termios

pid, master = pty.fork()
if pid == 0:
    # The parent has set the window's size before it lets go.
    os.read(0, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))


def modes():
    flags = termios.tcgetattr(master)[3]
    return {name: bool(flags & getattr(termios, name)) for name in ("ICANON", "ECHO", "ISIG")}


before = modes()
os.write(master, b"\n")
after = before
sources = [master, 0]
while master in sources:
    ready, _, _ = select.select(sources, [], [])
    if master in ready:
        try:
            data = os.read(master, 65536)
        except OSError:
            data = b""
        if data:
            os.write(1, data)
        else:
            after = modes()
            sources.remove(master)
    if 0 in ready:
        data = os.read(0, 65536)
        if data:
            os.write(master, data)
        else:
            os.close(master)
            sources.clear()
_, status = os.waitpid(pid, 0)
code = os.waitstatus_to_exitcode(status)
sys.stderr.write(json.dumps({"code": code, "before": before, "after": after}) + "\n")
