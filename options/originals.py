"""Options and commands of the original projects that were removed or renamed; errors name the replacement.

`docs/originals.md` shows the same rows; a test compares them.
"""

REMOVED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("display_freq", "check_every"), "`--pictures_every`, in steps"),
    (("print_freq", "display_every"), "`--print_every`, in steps"),
    (
        ("save_latest_freq", "save_iters_freq"),
        "`--save_every`, in steps: writes latest and numbered; `--keep` says how many stay",
    ),
    (("display_id",), "`--visdom=no` switches visdom off, as `display_id=0` did; the window has no number"),
    (
        ("display_winsize", "display_single_pane_ncols"),
        "nothing: pictures are one labelled grid in `pictures/`, visdom and TensorBoard",
    ),
    (("no_html",), "nothing: train.py writes no page, test.py one `index.html`"),
    (("serial_batches", "dataset_shuffle"), "nothing: the order follows from `--seed`"),
    (
        ("angle", "shift", "scale", "old_size", "fid_gt_path", "eval_iters_freq", "netD_V", "use_spect_g"),
        "nothing: it had no effect",
    ),
    (("gan_mode=wgan-gp",), "`--gan_mode=lsgan` or `hinge`; wgan-gp crashed"),
    (("lr_policy=plateau",), "`--lr_policy=lambda`, `step` or `exponent`; plateau was missing"),
    (
        ("mode",),
        "`train.py` trains, `test.py --mode animate` and `--mode reconstruction` do the rest; `train_avd` is "
        "`train.py --model mraa_avd` or `tps_avd`",
    ),
    (("launch/run_train.sh",), "`python train.py --data_dir DATA --name experiment_1 --batch_size 25`"),
    (("train_dataset", "test_dataset"), "`--dataroot`"),
    (("num_worker",), "`--nThreads`"),
    (("save_optim_state",), "nothing: optimizers are always saved, in `latest_training.pth`"),
    (("vgg19_layers", "vggface_layers"), "`--content_maps`"),
)
"""Names (or name=value, if only one value was removed), and the replacement."""


def replacement_of(spelling: str) -> str:
    """The replacement of an original's option (or name=value) as a sentence; empty for all others."""
    for names, now in REMOVED:
        if spelling in names:
            return f" It is an option of an original project; here: {now.replace('`', '')}."
    return ""
