"""Facial prior: first order motion whose key points come from facial landmarks, for micro-expressions."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

from models.fomm.family import FirstOrderMotion
from models.fomm_prior.magnification import magnified
from models.fomm_prior.networks import Prior, PriorDetector
from models.fomm_prior.options import NUM_KP, add_options
from models.parts.keypoint_family import Step
from models.parts.keypoints import KeyPoints
from models.parts.sizes import input_channels
from util.errors import UserError
from util.schedules import Clock


class FacialPrior(FirstOrderMotion):
    """Animate a face with the jacobians at 18 given landmarks.

    Training batches also hold `keypoint` (B, 18, 2), x and y in pixels, the points of both frames; items of animation
    hold those of their video, one set for the whole video.
    """

    detector = PriorDetector
    results_beside_weights = True
    explained_modes = ("reconstruction",)

    add_options = staticmethod(add_options)

    @staticmethod
    def recognises(sections: dict) -> bool:
        common = (sections.get("model_params") or {}).get("common_params") or {}
        return FirstOrderMotion.recognises(sections) and common.get("num_kp") == NUM_KP

    def recognises_weights(self, content: Any) -> bool:
        return self.holds_entries(content) and input_channels(content, "kp_detector") == 4

    def __init__(self, opt: Any, training: bool):
        if opt.num_kp != NUM_KP or not opt.estimate_jacobian:
            raise UserError(
                f"--num_kp {opt.num_kp}, --estimate_jacobian {opt.estimate_jacobian}: the facial prior has {NUM_KP} "
                f"points and needs their jacobians"
            )
        super().__init__(opt, training)
        if opt.magnify != 1 and not training and opt.mode == "reconstruction":
            raise UserError(
                f"--magnify {opt.magnify:g} --mode reconstruction: reconstruction compares with clips whose "
                f"movements are not magnified; use --magnify 1, or --mode animate"
            )
        self.magnify = opt.magnify

    def detection(self, item: dict[str, Any]) -> Callable[[Tensor], KeyPoints]:
        return partial(self.kp_detector, prior=item["prior"])

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        return super().training_step({**batch, "prior": self._prior(batch["keypoint"], batch["source"])}, clock)

    def encode_source(self, source: dict[str, Any]) -> dict[str, Any]:
        return super().encode_source({**source, "prior": self._prior(source["keypoint"], source["image"])})

    def drive(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Step, dict[str, Any]]:
        if "prior" not in state:
            # All frames of a video have the same points: everything derived from them is computed once.
            state = {**state, "prior": self._prior(driving["keypoint"][:1], driving["image"])}
        return super().drive(state, {**driving, "prior": state["prior"]})

    def moved_kp(self, state: dict[str, Any], kp_driving: KeyPoints) -> KeyPoints:
        if self.magnify != 1:
            kp_driving = magnified(kp_driving, state["kp_initial"], self.magnify)
        return super().moved_kp(state, kp_driving)

    def _prior(self, points: Tensor, pictures: Tensor) -> Prior:
        return self.kp_detector.prior(points, tuple(pictures.shape[-2:]))
