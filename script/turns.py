"""Ways of doing the same thing, each in a process of its own, that take turns: a busy moment meets all of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def take_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """What the process of each way answers, round by round."""
    processes = {
        way: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for way, command in commands.items()
    }
    answers: dict[str, list[dict[str, Any]]] = {way: [] for way in processes}
    try:
        for _ in range(rounds):
            for way, process in processes.items():
                answers[way].append(_answer(process))
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return answers


def _answer(process: subprocess.Popen) -> dict[str, Any]:
    """What a process answers to one turn; if it ends instead, so does this one: it has said why."""
    try:
        process.stdin.write("turn\n")
    except BrokenPipeError:
        sys.exit(process.wait())
    line = process.stdout.readline()
    return json.loads(line) if line else sys.exit(process.wait())


def answer_turns(work: Callable[[], dict[str, Any]]) -> None:
    """In such a process: work once for every line of the input, and print what came of it."""
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)
