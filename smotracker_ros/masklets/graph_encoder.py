"""SAM2's image encoder as an ONNX graph is traced from it: what the official modules compute, with fewer passes.

Runtimes on a CPU spend more time on moving and adding than on products. So:

- windows of attention stay together in memory from block to block, and places are put in order where windows change;
- linear layers see matrices, whose bias runtimes add in the same pass;
- queries, keys and values have layers of their own, the queries' with the scale of the attention in it;
- biases that need no pass of their own: that of keys shifts all logits of a query alike and is left out, and that of
  values comes out of the attention as it went in, and joins that of the projection behind it;
- the neck's 1x1 convolutions are folded with the mask decoder's behind them;
- the normalisation's factor is in the weights of the first convolution.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from sam2.modeling.backbones.hieradet import MultiScaleAttention, MultiScaleBlock
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from smotracker_ros.masklets.model import PIXEL_MEAN, PIXEL_STD


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer of given weights (outputs, inputs) and bias (outputs,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def windows_fit(model: SAM2Base) -> bool:
    """Whether every block's maps can be cut into its windows without padding."""
    trunk = model.image_encoder.trunk
    side = model.image_size // trunk.patch_embed.proj.stride[0]
    for block in trunk.blocks:
        if side % (block.window_size or side):
            return False
        side //= 2 if block.q_stride else 1
    return True


# All sizes but the number of windows are constants of the graph: what is read from a tensor's shape becomes nodes of it


def pool(rows: Tensor, side: int, channels: int) -> Tensor:
    """Largest of each 2x2 places of windows (N side side, C): (N side side / 4, C)."""
    pairs = rows.reshape(-1, side // 2, 2, side // 2, 2 * channels)
    taller = torch.maximum(pairs[:, :, 0], pairs[:, :, 1])
    return torch.maximum(taller[..., :channels], taller[..., channels:]).reshape(-1, channels)


def regroup(rows: Tensor, side: int, before: int, after: int, channels: int) -> Tensor:
    """Rows (N, C) of maps of `side` x `side` places, in windows of one size, in the order of windows of another."""
    if before == after:
        return rows
    many = side // before
    maps = rows.reshape(-1, many, many, before, before, channels).transpose(2, 3)
    if after == side:
        return maps.reshape(-1, channels)
    many = side // after
    return maps.reshape(-1, many, after, many, after, channels).transpose(2, 3).reshape(-1, channels)


class _Attention(nn.Module):
    """Attention within windows of `side` x `side` places, from rows (N, C) to rows."""

    def __init__(self, attention: MultiScaleAttention, side: int) -> None:
        super().__init__()
        self._heads, self._pools, self._side = attention.num_heads, attention.q_pool is not None, side
        self._width = attention.dim_out
        queries, keys, values = attention.qkv.weight.split(self._width)
        query_bias, _, value_bias = attention.qkv.bias.split(self._width)
        scale = (self._width // self._heads) ** -0.5
        self._queries = linear(queries * scale, query_bias * scale)
        self._keys, self._values = linear(keys, None), linear(values, None)
        output = attention.proj
        self._output = linear(output.weight, output.weight @ value_bias + output.bias)

    def forward(self, rows: Tensor) -> Tensor:
        places = self._side**2
        queries = self._queries(rows)
        if self._pools:
            queries = pool(queries, self._side, self._width)
        queries = self._apart(queries, places // 4 if self._pools else places)
        keys, values = self._apart(self._keys(rows), places), self._apart(self._values(rows), places)
        found = (queries @ keys.transpose(-1, -2)).softmax(-1) @ values
        if self._heads > 1:
            found = found.transpose(1, 2)
        result: Tensor = self._output(found.reshape(-1, self._width))
        return result

    def _apart(self, rows: Tensor, places: int) -> Tensor:
        """Heads of their own: (N, heads, places, C / heads); of one head (N, places, C)."""
        if self._heads == 1:
            return rows.reshape(-1, places, self._width)
        return rows.reshape(-1, places, self._heads, self._width // self._heads).transpose(1, 2)


class _Block(nn.Module):
    """A block of the trunk on windows of `side` x `side` places, from rows (N, C) to rows."""

    def __init__(self, block: MultiScaleBlock, side: int) -> None:
        super().__init__()
        self._block: Any = block
        self._attention, self._side = _Attention(block.attn, side), side
        self.width, self.pools = block.dim, block.q_stride is not None

    def forward(self, rows: Tensor) -> Tensor:
        block = self._block
        given = block.norm1(rows)
        if block.dim != block.dim_out:
            rows = block.proj(given)
            if block.q_stride:
                rows = pool(rows, self._side, block.dim_out)
        rows = rows + self._attention(given)
        first, second = block.mlp.layers
        result: Tensor = rows + second(functional.gelu(first(block.norm2(rows))))
        return result


class EncodeGraph(nn.Module):
    """Images, uint8 (B, S, S, 3), to two fine levels BCHW, and the coarsest as rows (B, h w, C).

    Args:
        model: the encoder's windows must fit its maps, and its neck must have four levels with 1x1 convolutions, whose
            two coarsest are summed.
    """

    def __init__(self, model: SAM2Base) -> None:
        super().__init__()
        trunk, neck = model.image_encoder.trunk, model.image_encoder.neck
        first = trunk.patch_embed.proj
        scale = 1 / (255 * torch.tensor(PIXEL_STD))
        self._first = nn.Conv2d(3, first.out_channels, first.kernel_size, first.stride, first.padding)
        self._first.load_state_dict({"weight": first.weight * scale.view(1, 3, 1, 1), "bias": first.bias})
        self._mean = 255 * torch.tensor(PIXEL_MEAN).view(3, 1, 1)
        self._side = model.image_size // first.stride[0]
        self._places = trunk._get_pos_embed((self._side, self._side)).detach().permute(0, 3, 1, 2).contiguous()
        side, blocks = self._side, []
        self._layout: list[tuple[int, int]] = []  # of each block: side of the maps, and of the windows
        for block in trunk.blocks:
            window = block.window_size or side
            self._layout.append((side, window))
            blocks.append(_Block(block, window))
            side //= 2 if block.q_stride else 1
        self._blocks: Any = nn.ModuleList(blocks)
        self._ends = list(trunk.stage_ends)
        convolutions = [level.conv for level in neck.convs][::-1]  # from fine to coarse
        levels = [(level.weight[:, :, 0, 0], level.bias) for level in convolutions]
        for index, second in enumerate((model.sam_mask_decoder.conv_s0, model.sam_mask_decoder.conv_s1)):
            matrix, (weight, bias) = second.weight[:, :, 0, 0], levels[index]
            levels[index] = matrix @ weight, matrix @ bias + second.bias
        self._levels: Any = nn.ModuleList(linear(*level) for level in levels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the graph's outputs."""
        pixels = images.permute(0, 3, 1, 2).float() - self._mean
        rows = (self._first(pixels) + self._places).permute(0, 2, 3, 1).reshape(-1, self._first.out_channels)
        side = window = self._side
        found: list[Tensor] = []
        for index, (block, layout) in enumerate(zip(self._blocks, self._layout, strict=True)):
            rows = regroup(rows, side, window, layout[1], block.width)
            rows, (side, window) = block(rows), layout
            if block.pools:
                side, window = side // 2, window // 2
            if index in self._ends:
                layer = self._levels[len(found)]
                level = regroup(layer(rows), side, window, side, layer.out_features)
                found.append(level.reshape(-1, side, side, layer.out_features))
        fine, middle, coarse, coarsest = found
        channels = self._levels[-1].out_features
        larger = coarsest[:, :, None, :, None].expand(-1, -1, 2, -1, 2, -1).reshape(-1, 2 * side, 2 * side, channels)
        mixed = (coarse + larger).reshape(-1, 4 * side * side, channels)
        return fine.permute(0, 3, 1, 2), middle.permute(0, 3, 1, 2), mixed
