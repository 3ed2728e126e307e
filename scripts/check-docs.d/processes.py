"""What a document starts, and its end. Orphans become children of this process, whatever session they went to, so that
everything a document started is found below it."""

import ctypes
import os
import signal
import socket
import time
import urllib.error
import urllib.request

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Makes this process the parent of whatever its children leave behind. The environment would not tell: redis-server,
    for one, writes its title over it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def stat(pid):
    """State and parent of a process; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
            return state, int(parent)
    except OSError:
        return None


def started():
    """The pids of all processes below this one that have not ended."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := stat(int(name))):
            children.setdefault(found[1], []).append((int(name), found[0]))
    below, reached = [], [os.getpid()]
    while reached:
        for pid, state in children.get(reached.pop(), []):
            reached.append(pid)
            if state != "Z":
                below.append(pid)
    return below


def end_all(patience=10):
    """Ends everything that was started, each by its pid: asked first, then killed."""
    for sign, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
        left = started()
        for pid in left:
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                continue
        if not left or until(lambda: not started(), seconds):
            break


def bury():
    """Takes note of orphans that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def until(holds, seconds):
    """Whether it holds within so many seconds."""
    end_of_patience = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end_of_patience:
            return False
        time.sleep(0.05)
    return True


def listens(port):
    """Whether somebody listens on this port of this machine."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def answers(url):
    """Whether this URL is answered with success."""
    try:
        with DIRECT.open(url, timeout=2) as answer:
            return answer.status < 400
    except (OSError, urllib.error.URLError):
        return False
