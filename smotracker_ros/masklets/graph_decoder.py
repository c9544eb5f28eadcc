"""SAM2's prompt encoder and mask decoder as ONNX graphs are traced from them: box prompts, and one mask per object."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from sam2.modeling.sam.transformer import Attention, TwoWayAttentionBlock
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor, nn

from smotracker_ros.masklets.graph_encoder import linear


class _Reshape(torch.autograd.Function):
    """ONNX's way to reshape: 0 stands for the size that the tensor has there, which is no constant of the graph."""

    @staticmethod
    def forward(context: Any, given: Tensor, sizes: tuple[int, ...]) -> Tensor:
        return given.reshape([size or given.shape[place] for place, size in enumerate(sizes)])

    @staticmethod
    def symbolic(graph: Any, given: Any, sizes: tuple[int, ...]) -> Any:
        return graph.op("Reshape", given, graph.op("Constant", value_t=torch.tensor(sizes)))


class _Attention(nn.Module):
    """Attention of several heads, of (B, N, C) to (B, M, C)."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self._heads = attention.num_heads
        scale = (attention.internal_dim // self._heads) ** -0.5
        queries, values, output = attention.q_proj, attention.v_proj, attention.out_proj
        self._queries = linear(queries.weight * scale, queries.bias * scale)
        # as in the encoder, biases of keys and values need no pass of their own
        self._keys, self._values = linear(attention.k_proj.weight, None), linear(values.weight, None)
        self._output = linear(output.weight, output.weight @ values.bias + output.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        logits = self._apart(self._queries(queries)) @ self._apart(self._keys(keys)).transpose(-1, -2)
        found = logits.softmax(-1) @ self._apart(self._values(values))
        result: Tensor = self._output(_Reshape.apply(found.transpose(1, 2), (0, 0, -1)))
        return result

    def _apart(self, given: Tensor) -> Tensor:
        """Heads of their own: (B, heads, N, C / heads)."""
        split: Tensor = _Reshape.apply(given, (0, 0, self._heads, -1))
        return split.transpose(1, 2)


class _DecodeLayer(nn.Module):
    """A layer of the mask decoder's transformer: tokens (B, N, C) and rows (B, HW, C) attend to each other."""

    def __init__(self, layer: TwoWayAttentionBlock) -> None:
        super().__init__()
        self._layer: Any = layer
        self._own, self._to_rows = _Attention(layer.self_attn), _Attention(layer.cross_attn_token_to_image)
        self._to_tokens = _Attention(layer.cross_attn_image_to_token)

    def forward(self, tokens: Tensor, rows: Tensor, given: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        layer = self._layer
        if layer.skip_first_layer_pe:
            tokens = layer.norm1(self._own(tokens, tokens, tokens))
        else:
            placed = tokens + given
            tokens = layer.norm1(tokens + self._own(placed, placed, tokens))
        placed_rows = rows + places
        tokens = layer.norm2(tokens + self._to_rows(tokens + given, placed_rows, rows))
        matrix = tokens.reshape(-1, int(tokens.shape[2]))
        tokens = layer.norm3(tokens + layer.mlp(matrix).view_as(tokens))
        rows = layer.norm4(rows + self._to_tokens(placed_rows, tokens + given, tokens))
        return tokens, rows


class PromptGraph(nn.Module):
    """Box prompts, xyxy in input pixels (B, 4), to embeddings: sparse (B, 3, C), dense (B, HW, C).

    Beside them come what stands for no prompt, (1, 2, C) and (1, 1, C), and for no memory, (1, 1, C).
    """

    def __init__(self, model: SAM2Base, dense_boxes: bool) -> None:
        super().__init__()
        self._model: Any = model
        self._dense_boxes = dense_boxes

    def forward(self, boxes: Tensor) -> tuple[Tensor, ...]:
        """Compute the graph's outputs."""
        encoder = self._model.sam_prompt_encoder
        corners = encoder.pe_layer.forward_with_coords(boxes.view(-1, 2, 2) + 0.5, encoder.input_image_size)
        labels = torch.stack([encoder.point_embeddings[index].weight[0] for index in (2, 3)])
        nothing = encoder.not_a_point_embed.weight[None]  # (1, 1, C)
        sparse = torch.cat([corners + labels, nothing.expand(boxes.shape[0], -1, -1)], dim=1)
        no_dense = encoder.no_mask_embed.weight[None]
        dense = no_dense + 0 * boxes[:, :1, None]
        if self._dense_boxes:
            dense = encoder.mask_downscaling(self._drawn(boxes)).flatten(2).transpose(1, 2)
        no_memory = self._model.no_mem_embed
        return sparse, dense, nothing.expand(-1, 2, -1) + 0, no_dense + 0, no_memory + 0

    def _drawn(self, boxes: Tensor) -> Tensor:
        """Boxes as mask-prompt logits, B1hw: +4 inside, -4 outside."""
        centers = torch.arange(self._model.image_size // 4) * 4.0 + 2.0
        inside_x = (centers > boxes[:, 0:1]) & (centers < boxes[:, 2:3])
        inside_y = (centers > boxes[:, 1:2]) & (centers < boxes[:, 3:4])
        return ((inside_y[:, :, None] & inside_x[:, None, :]).float() * 8 - 4)[:, None]


class DecodeGraph(nn.Module):
    """Masks from conditioned features plus dense embeddings (B, HW, C), fine levels BCHW, and sparse ones (B, N, C).

    Outputs: mask logits (B, h, w) and (B, S, S), predicted IoU (B,), object score (B,), object pointer (B, C).
    """

    def __init__(self, model: SAM2Base) -> None:
        super().__init__()
        self._model: Any = model
        decoder = model.sam_mask_decoder
        tokens = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
        self._layers = nn.ModuleList(_DecodeLayer(layer) for layer in decoder.transformer.layers)
        self._last = _Attention(decoder.transformer.final_attn_token_to_image)
        self._tokens = torch.cat([token.weight for token in tokens])[None].detach()
        self._places = model.sam_prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2).detach()

    def forward(self, rows: Tensor, level0: Tensor, level1: Tensor, sparse: Tensor) -> tuple[Tensor, ...]:
        """Compute the graph's outputs."""
        model, decoder = self._model, self._model.sam_mask_decoder
        given = torch.cat([self._tokens.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        tokens = given
        for layer in self._layers:
            tokens, rows = layer(tokens, rows, given, self._places)
        tokens = tokens + self._last(tokens + given, rows + self._places, rows)
        tokens = decoder.transformer.norm_final_attn(tokens)
        score = decoder.pred_obj_score_head(tokens[:, 0])  # (B, 1)
        iou = decoder.iou_prediction_head(tokens[:, 1])[:, 0]
        token = tokens[:, 2]
        side = model.sam_image_embedding_size
        maps = rows.transpose(1, 2).reshape(-1, rows.shape[-1], side, side)
        first, norm, act, second, last_act = decoder.output_upscaling
        maps = act(norm(first(maps) + level1))
        maps = last_act(second(maps) + level0)
        low = (decoder.output_hypernetworks_mlps[0](token)[:, None] @ maps.flatten(2)).reshape(-1, *level0.shape[2:])
        visible = score > 0
        low = torch.where(visible[:, :, None], low, torch.full((), NO_OBJ_SCORE))
        size = (model.image_size, model.image_size)
        high = functional.interpolate(low[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        pointer = torch.where(visible, model.obj_ptr_proj(token), model.no_obj_ptr)
        return low, high, iou, score[:, 0], pointer
