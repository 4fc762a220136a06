"""Runs scripts in forks of a process that has imported fairseq already, and done nothing else.

Starting a fairseq command costs seconds, most of them imports. This program imports fairseq once (not the plugin: that is
``--user-dir``'s job, in each command anew) and waits for requests on stdin, one JSON object a line. For each it forks. The
child becomes the command, in its own folder, with its own arguments and output files: it runs the console script itself,
and ends as any program ends. A fork has none of its parent's threads, and may wait for them: this process has none.

Answers on stdout, one JSON object a line: the child's process id when it starts, and again with its exit status, negative
for a signal, when it has ended.
"""

import contextlib
import gc
import json
import os
import runpy
import sys


def next_command() -> dict:
    """Serve requests; returns one in each child."""
    for line in sys.stdin:
        request = json.loads(line)
        assert_one_thread()
        child = os.fork()
        if child == 0:
            return request
        with contextlib.suppress(OSError):  # the child does the same: one of them is first
            os.setpgid(child, child)
        print(json.dumps({"process": child}), flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"process": child, "status": status}), flush=True)
    sys.exit()


def assert_one_thread() -> None:
    """Neither OpenMP nor anything else has started threads here (seen where there is Linux's /proc)."""
    tasks = os.listdir("/proc/self/task") if os.path.exists("/proc/self/task") else [os.getpid()]
    assert len(tasks) == 1, f"the command server has {len(tasks)} threads, which its forks would not have"


def become(request: dict) -> None:
    """Make this process what a shell would have started for *request*."""
    os.setpgid(0, 0)  # a group of its own, so that it can be killed with its workers
    for descriptor, name, flags in (
        (0, "stdin", os.O_RDONLY),
        (1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        file = os.open(request[name], flags, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    os.chdir(request["cwd"])
    sys.argv = request["command"]
    sys.path[0] = os.path.dirname(sys.argv[0])  # where a console script's own folder is


if __name__ == "__main__":
    import fairseq.checkpoint_utils  # noqa: F401  and with it models and tasks
    import fairseq.options  # noqa: F401
    import torch.fx.experimental.symbolic_shapes  # noqa: F401  what the first attention would import

    gc.freeze()  # what is there now need not be looked through in every child

    command = next_command()
    become(command)
    runpy.run_path(sys.argv[0], run_name="__main__")
