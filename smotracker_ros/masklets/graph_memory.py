"""SAM2's memory attention and memory encoder as ONNX graphs are traced from them, for any number of memories.

Rotary positions are computed in real numbers, on keys by memory, so that no shape depends on how many there are. What
an object does not remember is left out by a bias on the attention's logits. Attention weights are multiplied with
memories as they are stored, and the result is projected: (A M) W = A (M W).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor, nn

from smotracker_ros.masklets.graph_encoder import linear


class _Rotation(nn.Module):
    """Rotary positions of rows (..., HW, C) whose even channels come first, then the odd ones."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        turns = attention.freqs_cis
        self._cosine, self._sine = turns.real.contiguous(), turns.imag.contiguous()

    def forward(self, rows: Tensor) -> Tensor:
        even, odd = rows.chunk(2, dim=-1)
        return torch.cat([even * self._cosine - odd * self._sine, even * self._sine + odd * self._cosine], dim=-1)


def _even_first(layer: nn.Linear, scale: float = 1.0) -> nn.Linear:
    """The layer with its results scaled, and in the order of :class:`_Rotation`."""
    order = torch.cat([torch.arange(0, layer.out_features, 2), torch.arange(1, layer.out_features, 2)])
    return linear(layer.weight[order] * scale, layer.bias[order] * scale)


class _ConditionLayer(nn.Module):
    """A layer of the memory attention."""

    def __init__(self, layer: MemoryAttentionLayer) -> None:
        super().__init__()
        self._layer: Any = layer
        own, cross = layer.self_attn, layer.cross_attn_image
        scale = own.internal_dim**-0.5
        self._own_queries, self._own_keys = _even_first(own.q_proj, scale), _even_first(own.k_proj)
        self._queries, self._keys = _even_first(cross.q_proj, scale), _even_first(cross.k_proj)
        self._own_values = self._joined(own)
        self._values = self._joined(cross)
        self._own_rotation, self._rotation = _Rotation(own), _Rotation(cross)

    @staticmethod
    def _joined(attention: Any) -> nn.Linear:
        """Projections of values and of results in one: weights of attention add up to 1."""
        output, value = attention.out_proj, attention.v_proj
        return linear(output.weight @ value.weight, output.weight @ value.bias + output.bias)

    def forward(self, rows: Tensor, places: Tensor, pointers: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        layer = self._layer
        given = layer.norm1(rows)
        queries, keys = self._own_rotation(self._own_queries(given)), self._own_rotation(self._own_keys(given))
        rows = rows + self._own_values((queries @ keys.transpose(1, 2)).softmax(-1) @ given)
        queries = self._rotation(self._queries(layer.norm2(rows)))
        turned = self._rotation(self._keys(places))  # (B, M, HW, C)
        keys = torch.cat([turned.flatten(1, 2), self._keys(pointers)], dim=1)
        weights = (queries @ keys.transpose(1, 2) + bias).softmax(-1)
        rows = rows + self._values(weights @ values)
        return rows + layer.linear2(functional.relu(layer.linear1(layer.norm3(rows))))


class ConditionGraph(nn.Module):
    """Coarsest features with memories mixed in.

    Inputs: features (B, HW, C); memories (B, M, HW, D), and their places in the order of time (B, M), from 0; object
    pointers (B, P, C), and their ages in frames (B, P); a bias on the logits of all tokens (B, 1, M HW + P C / D), 0 or
    so far below that a token is not seen. Output: (B, HW, C).
    """

    def __init__(self, model: SAM2Base) -> None:
        super().__init__()
        attention = model.memory_attention
        side, channels, width = model.sam_image_embedding_size, model.hidden_dim, model.mem_dim
        self._layers = nn.ModuleList(_ConditionLayer(layer) for layer in attention.layers)
        self._norm, self._ages = attention.norm, model.obj_ptr_tpos_proj
        neck = model.image_encoder.neck.position_encoding(torch.zeros(1, channels, side, side))
        self._places = 0.1 * neck.flatten(2).transpose(1, 2) if attention.pos_enc_at_input else torch.zeros(1)
        spatial = model.memory_encoder.position_encoding(torch.zeros(1, width, side, side))
        spatial = spatial.flatten(2).transpose(1, 2)  # (1, HW, D)
        self._memory_places = (spatial + model.maskmem_tpos_enc[:, 0].detach()).contiguous()  # (slots, HW, D)
        self._parts, self._width, self._oldest = channels // width, width, model.max_obj_ptrs_in_encoder - 1

    def forward(
        self, coarse: Tensor, memories: Tensor, slots: Tensor, pointers: Tensor, ages: Tensor, bias: Tensor
    ) -> Tensor:
        """Compute the graph's outputs."""
        places = memories + self._memory_places[slots]
        encoding = self._ages(get_1d_sine_pe(ages / self._oldest, dim=pointers.shape[-1]))  # (B, P, D)
        split = pointers.reshape(pointers.shape[0], -1, self._parts, self._width)
        pointed = (split + encoding[:, :, None]).flatten(1, 2)
        values = torch.cat([memories.flatten(1, 2), split.flatten(1, 2)], dim=1)
        rows = coarse + self._places
        for layer in self._layers:
            rows = layer(rows, places, pointed, values, bias)
        return self._norm(rows)


class MemoriseGraph(nn.Module):
    """Features (B, HW, C), mask logits (B, S, S) and object scores (B,) to memories (B, HW, D)."""

    def __init__(self, model: SAM2Base) -> None:
        super().__init__()
        self._model: Any = model

    def forward(self, coarse: Tensor, high: Tensor, object_score: Tensor) -> Tensor:
        """Compute the graph's outputs."""
        model, side = self._model, self._model.sam_image_embedding_size
        maps = coarse.transpose(1, 2).reshape(-1, coarse.shape[-1], side, side)
        masks = high[:, None].sigmoid() * model.sigmoid_scale_for_mem_enc + model.sigmoid_bias_for_mem_enc
        memory = model.memory_encoder(maps, masks, skip_mask_sigmoid=True)["vision_features"]
        rows = memory.flatten(2).transpose(1, 2)
        absent = (object_score <= 0).float()[:, None, None]
        return rows + absent * model.no_obj_embed_spatial
