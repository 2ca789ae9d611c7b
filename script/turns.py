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
    for _ in range(rounds):
        for way, process in processes.items():
            process.stdin.write("turn\n")
            answers[way].append(json.loads(process.stdout.readline()))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    return answers


def answer_turns(work: Callable[[], dict[str, Any]]) -> None:
    """In such a process: work once for every line of the input, and print what came of it."""
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)
