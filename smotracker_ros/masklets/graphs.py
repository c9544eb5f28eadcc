"""The steps of a small SAM2 network as ONNX graphs, for :class:`~smotracker_ros.masklets.onnx_network.OnnxNetwork`.

They are traced from modules that compute what the official ones do, for any number of objects and memories. Maps of the
coarsest level stay rows of places from graph to graph.

Weights that half precision holds exactly, as all of a checkpoint in half precision, are stored so.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from smotracker_ros.masklets.acceleration import exchange_norms
from smotracker_ros.masklets.graph_decoder import DecodeGraph, PromptGraph
from smotracker_ros.masklets.graph_encoder import EncodeGraph, windows_fit
from smotracker_ros.masklets.graph_memory import ConditionGraph, MemoriseGraph
from smotracker_ros.masklets.model import Sam2Steps
from smotracker_ros.masklets.onnx_network import LAYOUT, graph_file
from smotracker_ros.models.exports import ExportError

_OPSET = 20


def export_network(steps: Sam2Steps, folder: Path, stem: str) -> list[Path]:
    """Write a network's graphs, one file for each step.

    Args:
        steps: on a CPU, in float32, not accelerated; its decoder must offer one mask, and its attentions have one head.
        folder: must exist; files of the same names are replaced.
        stem: how the files' names begin.

    Raises:
        ExportError: if the network is of another kind.
    """
    _check(steps.model)
    model = copy.deepcopy(steps.model).eval()
    exchange_norms(model)
    facts = {
        "layout": LAYOUT,
        "name": steps.name,
        "checksum": steps.checksum,
        "image_size": str(steps.image_size),
        "recent_limit": str(int(model.num_maskmem) - 1),
        "pointer_limit": str(int(model.max_obj_ptrs_in_encoder) - 1),
    }
    side, channels, width = model.sam_image_embedding_size, model.hidden_dim, model.mem_dim
    size, places = steps.image_size, side**2
    batch, memories, pointers = 2, 3, 4
    coarse = torch.zeros(batch, places, channels)
    with torch.inference_mode():
        fine = EncodeGraph(model)(torch.zeros(batch, size, size, 3, dtype=torch.uint8))[:2]
    tokens = memories * places + pointers * (channels // width)
    b, m, p, t = "batch", "memories", "pointers", "tokens"
    graphs: dict[str, tuple[nn.Module, dict[str, tuple[Tensor, dict[int, str]]], tuple[str, ...]]] = {
        "encode": (
            EncodeGraph(model),
            {"images": (torch.zeros(batch, size, size, 3, dtype=torch.uint8), {0: b})},
            ("level0", "level1", "coarse"),
        ),
        "condition": (
            ConditionGraph(model),
            {
                "coarse": (coarse, {0: b}),
                "memories": (torch.zeros(batch, memories, places, width), {0: b, 1: m}),
                "slots": (torch.zeros(batch, memories, dtype=torch.int64), {0: b, 1: m}),
                "pointers": (torch.zeros(batch, pointers, channels), {0: b, 1: p}),
                "ages": (torch.zeros(batch, pointers), {0: b, 1: p}),
                "bias": (torch.zeros(batch, 1, tokens), {0: b, 2: t}),
            },
            ("conditioned",),
        ),
        "prompt": (
            PromptGraph(model, steps.dense_box_prompt),
            {"boxes": (torch.ones(batch, 4), {0: b})},
            ("sparse", "dense", "no_sparse", "no_dense", "no_memory"),
        ),
        "decode": (
            DecodeGraph(model),
            {
                "rows": (coarse, {0: b}),
                "level0": (fine[0], {0: b}),
                "level1": (fine[1], {0: b}),
                "sparse": (torch.zeros(batch, 3, channels), {0: b, 1: "points"}),
            },
            ("low", "high", "predicted_iou", "object_score", "pointer"),
        ),
        "memorise": (
            MemoriseGraph(model),
            {
                "coarse": (coarse, {0: b}),
                "high": (torch.zeros(batch, size, size), {0: b}),
                "object_score": (torch.zeros(batch), {0: b}),
            },
            ("memory",),
        ),
    }
    paths = []
    for step, (module, inputs, outputs) in graphs.items():
        path = graph_file(folder, stem, step)
        axes = {name: dynamic for name, (_, dynamic) in inputs.items()}
        axes |= {name: {0: b} for name in outputs if not name.startswith("no_")}
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracer's, about sizes that are constant here
            torch.onnx.export(
                module.eval(),
                tuple(example for example, _ in inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
        graph = onnx.load(path)
        _halve(graph)
        helper.set_model_props(graph, {"step": step, **facts})
        onnx.checker.check_model(graph)
        onnx.save(graph, path)
        paths.append(path)
    return paths


def _check(model: SAM2Base) -> None:
    """Refuse a model that the graphs do not describe.

    Raises:
        ExportError: naming what is different.
    """
    attentions = [a for layer in model.memory_attention.layers for a in (layer.self_attn, layer.cross_attn_image)]
    wanted = {
        "one mask": not (model.multimask_output_in_sam or model.sam_mask_decoder.dynamic_multimask_via_stability),
        "attention of one head to memories": all(getattr(a, "num_heads", 0) == 1 for a in attentions),
        "object scores": model.pred_obj_scores and model.fixed_no_obj_ptr and not model.soft_no_obj_ptr,
        "pointers with projected ages": model.proj_tpos_enc_in_obj_ptrs and model.add_tpos_enc_to_obj_ptrs,
        "memories with an embedding of absence": model.no_obj_embed_spatial is not None,
        "masks that are not binarised": not model.binarize_mask_from_pts_for_mem_enc,
        "fine levels": model.use_high_res_features_in_sam,
        "windows that fit its maps": windows_fit(model),
    }
    if missing := [fact for fact, is_so in wanted.items() if not is_so]:
        raise ExportError(
            f"only the nano SAM2 can be exported as a whole; this network lacks {', '.join(missing)}: let onnxruntime "
            "compute its image encoder alone"
        )


def _halve(graph: onnx.ModelProto) -> None:
    """Store weights in half precision where it holds them exactly; runtimes convert them once, when they load them."""
    for weight in list(graph.graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < 256:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        stored = numpy_helper.from_array(half, f"{weight.name}_half")
        graph.graph.node.insert(0, helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT))
        graph.graph.initializer.remove(weight)
        graph.graph.initializer.append(stored)
