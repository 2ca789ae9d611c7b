"""Try models in a browser: animate, preview crops, live, batches, comparisons, finetuning. It works without a network.

  python app.py
  python app.py --port 7861 --checkpoints_dir result --max_seconds 120

The page is for this machine alone unless --host or --share say otherwise: docs/app.md."""

from util.waiting import wait_briefly

wait_briefly()

import argparse
from pathlib import Path

from util.errors import UserError, run_main
from util.values import boolean, count, positive, within


def main() -> int:
    """Start the server and wait for Ctrl-C."""
    args = read_arguments()
    from webapp.server import Address, quiet_folder, serve

    with quiet_folder() as folder:
        try:
            import gradio  # noqa: F401
        except ImportError as error:
            raise UserError(f"the app needs gradio: pip install -r requirements-app.txt ({error})") from error
        import torch

        from engine.console import configure_logging
        from engine.signals import unwind_at_sigterm
        from webapp.context import App, Limits
        from webapp.page import CSS, THEME, build

        configure_logging()
        unwind_at_sigterm()
        address = Address(args.host, args.port, args.share)
        device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
        app = App(
            device=device, runs=args.checkpoints_dir, results=args.results_dir, folder=folder,
            limits=Limits(args.max_seconds, args.max_megabytes), local=address.local,
        )  # fmt: skip
        try:
            serve(
                build(app), address, results=args.results_dir, megabytes=args.max_megabytes, theme=THEME, css=CSS,
                block=True,
            )  # fmt: skip
        finally:
            app.workshop.stop_all()
    return 0


def read_arguments() -> argparse.Namespace:
    """Declare and read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0: everybody in your network (%(default)s)")
    add("--port", type=within(1, 65535, lambda value: int(value)), help="default: the first free one from 7860 on")
    add("--share", type=boolean, default=False, nargs="?", const=True, metavar="yes|no",
        help="a public link through gradio's servers (no)")  # fmt: skip
    add("--checkpoints_dir", type=Path, default=Path("result"), help="folder of the runs to offer (%(default)s)")
    add("--results_dir", type=Path, default=Path("eval_results/app"), help="where batches go (%(default)s)")
    add("--cpu", action="store_true", help="use the CPU even if there is a GPU")
    add("--max_seconds", type=positive, default=60.0, help="longest driving video (%(default)s)")
    add("--max_megabytes", type=count, default=200, help="largest file that a browser may give (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
