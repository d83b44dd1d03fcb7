"""SAM2 (Ravi et al. 2024) through transformers: automatic masks from a grid of points, and prompted refinement.

Choices
- Only the model class of transformers is used; its processors and mask pipeline need torchvision. Resizing, prompts,
  scores and non-maximum suppression are here.
- Pictures are stretched to the model's square, as SAM2 was trained; prompts are stretched with them.
- Weights: facebook/sam2.1-hiera-{tiny,small,base-plus,large}, Apache-2.0, 0.16-0.9 GB, downloaded on first use or read
  from a folder. A random tiny model (`untrained`) runs the same code offline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from openmore.errors import CheckpointError, MissingExtra
from openmore.masks.nms import box_nms, boxes_of
from openmore.masks.refine import keep_unknown, pieces
from openmore.model.weights.hub import require_network
from openmore.types import MOVING

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MASK_LOGIT = 8.0  # how surely a mask prompt says yes and no


@dataclass(frozen=True)
class Embedded:
    """A picture the model has looked at."""

    features: list[Tensor]
    shape: tuple[int, int]  # (H, W) of the picture


class SAM2Predictor:
    """SAM2 on single pictures."""

    def __init__(self, model: Any, name: str = "sam2", device: str | torch.device = "cpu"):
        self.model, self.name, self.device = model.eval().to(device), name, torch.device(device)
        self.side = int(model.config.prompt_encoder_config.image_size)

    @classmethod
    def from_pretrained(cls, size: str, weights: str | None = None, device: str = "cpu") -> SAM2Predictor:
        """`size`: tiny, small, base-plus or large; `weights`: a folder, "untrained", or None for the published files.

        Raises MissingExtra without transformers, CheckpointError when the weights cannot be had.
        """
        model_class = _model_class()
        if weights == "untrained":
            return cls(untrained(), f"sam2-{size}:untrained", device)
        source = weights or f"facebook/sam2.1-hiera-{size}"
        try:
            if weights is None:
                _fetch(source)
            model = model_class.from_pretrained(source, local_files_only=True)
            return cls(model, f"sam2-{size}", device)
        except (OSError, ValueError, RuntimeError, CheckpointError) as error:
            raise CheckpointError(
                f"SAM2 weights {source} cannot be loaded: download their folder elsewhere and give sam2-{size}:FOLDER"
            ) from error

    @torch.inference_mode()
    def embed(self, image: np.ndarray) -> Embedded:
        """Look at a picture [H, W, 3] uint8 RGB once; any number of prompts may follow."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
        square = F.interpolate(pixels, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        mean, std = (torch.tensor(x, device=self.device).view(1, 3, 1, 1) for x in (_MEAN, _STD))
        features = self.model.get_image_embeddings((square - mean) / std)
        return Embedded(list(features), (image.shape[0], image.shape[1]))

    @torch.inference_mode()
    def predict(
        self,
        picture: Embedded,
        points: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Three candidate masks per prompt: logits [N, 3, h, w] at the model's resolution, predicted IoU [N, 3].

        points: [N, 2] (u, v) pixels, one inside each object; boxes: [N, 4] (left, top, right, bottom) pixels;
        mask: [H, W] bool, only with a single prompt.
        """
        scale = torch.tensor([self.side / picture.shape[1], self.side / picture.shape[0]])
        prompts: dict[str, Tensor] = {}
        if points is not None:
            prompts["input_points"] = (torch.as_tensor(points).float() * scale)[None, :, None]
            prompts["input_labels"] = torch.ones(1, len(points), 1, dtype=torch.long)
        if boxes is not None:
            prompts["input_boxes"] = (torch.as_tensor(boxes).float() * scale.repeat(2))[None]
        if mask is not None:
            side = 4 * picture.features[-1].shape[-1]
            soft = F.interpolate(torch.from_numpy(mask).float()[None, None], (side, side), mode="area")
            prompts["input_masks"] = (2 * soft - 1) * _MASK_LOGIT
        out = self.model(
            image_embeddings=picture.features,
            **{k: v.to(self.device) for k, v in prompts.items()},
            multimask_output=True,
        )
        return out.pred_masks[0].float(), out.iou_scores[0].float()

    def to_picture(self, logits: Tensor, picture: Embedded) -> np.ndarray:
        """Mask logits [N, h, w] -> masks [N, H, W] bool at the picture's resolution."""
        full = F.interpolate(logits[:, None], picture.shape, mode="bilinear", align_corners=False)
        return (full[:, 0] > 0).cpu().numpy()

    def refine(self, labels: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Redraw every moving piece of labels [H, W] from its box, innermost point and shape (supplement 2.2).

        Of the candidates the one that overlaps the piece best replaces it, if their IoU is at least one half.
        """
        picture = self.embed(image)
        out = np.zeros(labels.shape, bool)
        for piece, _ in pieces(labels == MOVING):
            box = boxes_of(piece[None])
            logits, _ = self.predict(picture, innermost(piece)[None], box, piece)
            candidates = self.to_picture(logits[0], picture)
            iou = (candidates & piece).sum((1, 2)) / np.maximum((candidates | piece).sum((1, 2)), 1)
            out |= candidates[iou.argmax()] if iou.max() >= 0.5 else piece
        return keep_unknown(labels, out)


class SAM2Segmenter:
    """SAM2's automatic masks: a grid of points, filtered by predicted IoU, stability and overlap."""

    def __init__(
        self,
        predictor: SAM2Predictor,
        grid: int = 32,
        least_iou: float = 0.8,
        least_stability: float = 0.95,
        overlap: float = 0.7,
        batch: int = 64,
    ):
        self.predictor, self.grid, self.batch = predictor, grid, batch
        self.least_iou, self.least_stability, self.overlap = least_iou, least_stability, overlap

    @classmethod
    def from_pretrained(cls, size: str, weights: str | None = None, **options: Any) -> SAM2Segmenter:
        """See `SAM2Predictor.from_pretrained`; `options` are the constructor's."""
        return cls(SAM2Predictor.from_pretrained(size, weights), **options)

    @property
    def name(self) -> str:
        return self.predictor.name

    def __call__(self, image: np.ndarray, frame: int, residual: np.ndarray, floor: float) -> np.ndarray:
        """Labels [H, W] int32; small masks lie over large ones, -1 where there is none."""
        picture = self.predictor.embed(image)
        logits, scores = self.candidates(picture)
        masks = self.predictor.to_picture(logits, picture)
        keep = box_nms(boxes_of(masks), scores, self.overlap)
        order = keep[np.argsort([-masks[k].sum() for k in keep], kind="stable")] if len(keep) else keep
        labels = np.full(image.shape[:2], -1, np.int32)
        for k in order:
            labels[masks[k]] = k
        shown, compact = np.unique(labels, return_inverse=True)
        return (compact.reshape(labels.shape) - int(shown[0] == -1)).astype(np.int32)

    def candidates(self, picture: Embedded) -> tuple[Tensor, np.ndarray]:
        """Mask logits [M, h, w] that pass both scores, and their predicted IoU [M]."""
        height, width = picture.shape
        steps = (np.arange(self.grid) + 0.5) / self.grid
        points = np.stack(np.meshgrid(steps * width, steps * height), -1).reshape(-1, 2)
        logits, scores = [], []
        for start in range(0, len(points), self.batch):
            masks, iou = self.predictor.predict(picture, points[start : start + self.batch])
            masks, iou = masks.flatten(0, 1), iou.flatten()
            good = (iou >= self.least_iou) & (stability(masks) >= self.least_stability)
            logits.append(masks[good])
            scores.append(iou[good])
        return torch.cat(logits), torch.cat(scores).cpu().numpy()


def stability(logits: Tensor, margin: float = 1.0) -> Tensor:
    """[N, h, w] -> [N]: area above +margin over area above -margin; 1 = the border does not depend on the threshold."""
    high, low = (logits > margin).sum((1, 2)), (logits > -margin).sum((1, 2))
    return high / low.clamp_min(1)


def innermost(mask: np.ndarray) -> np.ndarray:
    """(u, v) of the pixel farthest from the border of a mask [H, W] bool."""
    import cv2

    padded = np.pad(mask.astype(np.uint8), 1)  # the picture's edge is a border too
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    v, u = np.unravel_index(distance.argmax(), distance.shape)
    return np.array([u, v], np.float64)


def untrained() -> Any:
    """A random SAM2 of about a third of a million parameters, for tests and dry runs without weights."""
    _model_class()
    from transformers import Sam2Config

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "image_size": [128, 128],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "blocks_per_stage": [1, 1, 2, 1],
        "global_attention_blocks": [3],
        "window_size_per_stage": [4, 4, 4, 4],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 32,
    }
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": 128},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _model_class()(config)


def _fetch(repository: str) -> None:
    """Have the published files in the hub's cache. Raises CheckpointError at once when they cannot be had."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    files = ("config.json", "model.safetensors")
    if not all(isinstance(try_to_load_from_cache(repository, name), str) for name in files):
        require_network(f"SAM2 of {repository}")  # the hub's own retries take long and print each one
        snapshot_download(repository, allow_patterns=list(files))


def _model_class() -> Any:
    try:
        from transformers import Sam2Model
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit this torch
        raise MissingExtra("transformers", "masks", "SAM2") from error
    return Sam2Model
