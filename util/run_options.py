"""The options that every run has, with their types, for editors and type checkers."""

from typing import TYPE_CHECKING, Any


class RunOptions:
    """Resolved options: the shared ones, plus those of the family and the dataset mode.

    options/shared.py declares them. A family may list its own in a subclass: `class MyOptions(RunOptions)`.
    """

    # of train.py and test.py
    model: str
    config: str | None
    name: str
    checkpoints_dir: str
    allow_outside: bool
    seed: int
    debug: bool
    verbose: bool
    print_config: bool
    gpu_id: list[int]
    cpu: bool
    precision: str
    compile: bool
    channels_last: bool
    dataset_mode: str
    dataroot: str
    shares: list[float]
    nThreads: int
    max_pixels: int | None
    which: str
    metric_weights: str
    lpips_trunk: str | None
    inception: str | None
    face_alignment: str | None
    face_alignment_boxes: str | None
    openface: str | None
    arcface: str | None
    theval_aesthetics: str | None
    theval_face: str | None
    theval_mouth: str | None
    i3d: str | None

    # only train.py
    batch_size: int
    accumulate: int
    epochs: int | None
    steps: int | None
    on_nan: str
    freeze_norms: float | None
    clip_norm: float | None
    gradient_compression: str
    max_bad: float
    dry_run: bool
    overfit: int | None
    profile: int | None
    detect_anomaly: bool
    continue_train: bool
    continue_from: str | None
    init_from: str | None
    save_every: int
    save_every_epochs: int
    keep: int
    best_by: str
    print_every: int
    pictures_every: int
    visdom: bool
    display_port: int
    display_server: str
    display_env: str
    tensorboard: bool
    sink: list[str]
    validate_every: int | None
    validate_clips: int
    validate_frames: int
    validate_metrics: list[str]
    validate_share: float

    # only test.py
    checkpoint: str | None
    averaged: bool
    animate_batch: int
    mode: str
    source_image: list[str] | None
    source_frame: int | None
    driving_video: str | None
    pairs: str | None
    fps: float | None
    strict_video: bool
    find_best_frame: bool
    best_frame: int | None
    max_clips: int | None
    shard: list[int]
    crop_image: bool | None
    crop_image_padding: list[float]
    face: str | int
    crop_video: bool | None
    paste_back: bool | None
    output: str | None
    results_dir: str | None
    format: str
    quality: int
    audio: str
    compare: bool
    page_truth: bool
    strips: bool | None
    visualize: bool | None
    overwrite: bool
    landmarks: str
    landmark_model: str | None
    face_detector: str | None
    face_detector_model: str | None
    upsample: int | None
    search_every: int
    several: str | int
    on_missing: str
    smooth: float
    metrics: list[str]
    protocol: str | None
    table: str
    json: bool
    controls: bool
    allow_few: bool
    drawn_truth: str | None

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width of the dataset mode's pictures; None: as files are."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What family and dataset mode declare."""
