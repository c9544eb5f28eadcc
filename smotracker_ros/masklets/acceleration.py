"""The same SAM2 network, computed faster on a CPU: its modules exchanged for ones that give the same results.

The official modules are written for training. For inference in float32 on a CPU this is worth its while:

- linear layers and 1x1 convolutions through oneDNN with weights packed once, bias and activation in the same pass;
- the neck's 1x1 convolution and the mask decoder's behind it, with nothing between them, folded into one;
- positional encodings shared by the batch instead of copied for each image;
- attention to memories that multiplies the weights with the memories as they are stored, and projects the result:
  (A M) W = A (M W), and memories have a quarter of the network's width;
- small products, such as those of the decoder's few tokens, left to the plain linear layer, whose call is cheaper;
- the encoder's and the mask decoder's positional encodings, the same for every image, computed once, and the prompt
  that stands for none, too;
- normalisation over channels in one pass;
- nothing computed for masks that the model never offers;
- one call for objects whose memories are not equally full: what some do not have is left out of the attention.

Results differ by rounding only; test/masklets/test_acceleration.py compares them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck
from sam2.modeling.memory_attention import MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import RoPEAttention, apply_rotary_enc
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import MLP, LayerNorm2d
from torch import Tensor, nn

# Attention of fewer products than this goes object by object slower than in a batch
_LARGE_ATTENTION = 100_000
# Fewer multiplications than this, without and with an exact gelu, are not worth the call of oneDNN's linear layer; the
# plain one needs its weights as they are, which are kept only where they are few
_SMALL_PRODUCT = 1 << 22
_SMALL_PRODUCT_GELU = 1 << 20
_FEW_WEIGHTS = 1 << 16
# Sizes of images whose positional encodings are kept
_SIZES_AT_ONCE = 4
# Up to so many places to attend from, objects share a call although some have fewer memories than others
_FEW_QUERIES = 64
# Attention weights that are held at once, so that they stay in the processor's cache
_WEIGHTS_AT_ONCE = 1 << 21


def can_accelerate(device: torch.device, precision: torch.dtype) -> bool:
    """Whether :func:`accelerate` helps: float32 on a CPU whose torch has oneDNN's fused linear layer."""
    if device.type != "cpu" or precision != torch.float32 or not torch.backends.mkldnn.is_available():
        return False
    try:
        weight, given = torch.ones(8, 4), torch.ones(2, 3, 4)
        with torch.inference_mode():
            fused = PackedLinear(weight, torch.zeros(8))(given)
        return bool(torch.allclose(fused, functional.linear(given, weight)))
    except (AttributeError, RuntimeError, TypeError):  # operators of torch's compiler: no public interface
        return False


@torch.no_grad()
def accelerate(model: SAM2Base) -> tuple[MemoryReader, ...]:
    """Exchange modules of a model for faster ones, in place; for inference only, on a CPU, in float32.

    The model's `state_dict` is no longer the checkpoint's afterwards. Ask :func:`can_accelerate` first.

    Returns:
        The attentions to memories of all layers; empty if any of them is of another kind.
    """
    _fold_neck(model)
    _drop_unused_masks(model)
    for module in list(model.modules()):
        if isinstance(module, MLP):
            name = _activation_name(module.act)
            if name is not None:
                for index, layer in enumerate(module.layers[:-1]):
                    module.layers[index] = PackedLinear.of(layer, name)
                module.act = nn.Identity()
        elif isinstance(module, CXBlock) and isinstance(module.act, nn.GELU):
            module.pwconv1 = PackedLinear.of(module.pwconv1, "gelu")
            module.act = nn.Identity()
        elif isinstance(module, MemoryAttentionLayer):
            if module.activation is functional.relu:
                module.linear1 = PackedLinear.of(module.linear1, "relu")
                module.activation = nn.Identity()
            for key in ("self_attn", "cross_attn_image"):
                attention = getattr(module, key)
                if isinstance(attention, RoPEAttention) and attention.num_heads == 1:
                    setattr(module, key, MemoryReader(attention))
        elif isinstance(module, FpnNeck) and isinstance(module.position_encoding, PositionEmbeddingSine):
            module.position_encoding = _SharedEncoding(module.position_encoding)
        elif isinstance(module, MemoryEncoder):
            exchange_norms(module)
            if isinstance(module.position_encoding, PositionEmbeddingSine):
                module.position_encoding = _SharedEncoding(module.position_encoding)
        elif isinstance(module, PromptEncoder):
            module.get_dense_pe = functools.cache(module.get_dense_pe)
            module._embed_points = _SharedAbsence(module._embed_points)
        elif isinstance(module, Hiera):
            module._get_pos_embed = functools.lru_cache(_SIZES_AT_ONCE)(module._get_pos_embed)
    _pack_remaining(model)
    readers = tuple(layer.cross_attn_image for layer in model.memory_attention.layers)
    return readers if all(isinstance(reader, MemoryReader) for reader in readers) else ()


class PackedLinear(nn.Module):
    """A linear layer, and the activation behind it, in one pass of oneDNN.

    Args:
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        activation: "none", "relu" or "gelu".
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none") -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        self._bias = None if bias is None else bias.detach()
        self._products = weight.numel()
        self._plain = weight.detach().contiguous() if self._products <= _FEW_WEIGHTS else None
        # gelu's second argument: exact, not approximated by a hyperbolic tangent
        self._activation, self._algorithm = activation, "none" if activation == "gelu" else ""

    @classmethod
    def of(cls, layer: nn.Linear, activation: str = "none") -> PackedLinear:
        """Made of an ordinary layer."""
        return cls(layer.weight, layer.bias, activation)

    def forward(self, given: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if self._plain is not None:
            products = self._products * (given.numel() // given.shape[-1])
            if products < (_SMALL_PRODUCT_GELU if self._activation == "gelu" else _SMALL_PRODUCT):
                plain = functional.linear(given, self._plain, self._bias)
                if self._activation == "relu":
                    return plain.relu_()
                return functional.gelu(plain) if self._activation == "gelu" else plain
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            given, self._weight, self._bias, self._activation, [], self._algorithm
        )
        return result


class _Pointwise(nn.Module):
    """A 1x1 convolution as a linear layer: the encoder's maps BCHW lie in memory as BHWC, so nothing is copied."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._linear = PackedLinear(weight, bias)

    def forward(self, given: Tensor) -> Tensor:
        result: Tensor = self._linear(given.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return result


class ChannelNorm(nn.Module):
    """A `LayerNorm2d` in one pass; its result lies in memory as BHWC."""

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        self._weight, self._bias, self._eps = norm.weight.detach(), norm.bias.detach(), norm.eps

    def forward(self, given: Tensor) -> Tensor:
        """BCHW to BCHW."""
        last = given.permute(0, 2, 3, 1)
        return functional.layer_norm(last, self._weight.shape, self._weight, self._bias, self._eps).permute(0, 3, 1, 2)


class _NoMask(nn.Module):
    """Stands for the layers that make the weights of a mask which nobody looks at."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, given: Tensor) -> Tensor:
        """(B, width) to zeros (B, channels)."""
        return given.new_zeros(given.shape[0], self._channels)


class _SharedEncoding(nn.Module):
    """A positional encoding that all images of a batch share."""

    def __init__(self, encoding: PositionEmbeddingSine) -> None:
        super().__init__()
        self._encoding = encoding

    def forward(self, given: Tensor) -> Tensor:
        known = self._encoding.cache.get((given.shape[-2], given.shape[-1]))
        encoding: Tensor = self._encoding(given[:1]) if known is None else known[None]
        return encoding.expand(given.shape[0], -1, -1, -1)


class _SharedAbsence:
    """The embedding of point prompts, computed once for objects without a prompt: they get one point of label -1.

    Args:
        embed: the official function.
    """

    def __init__(self, embed: Callable[[Tensor, Tensor, bool], Tensor]) -> None:
        self._embed = embed
        self._absent: dict[bool, Tensor] = {}

    def __call__(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """Points (B, N, 2) and labels (B, N) to (B, M, C)."""
        if labels.shape[1] != 1 or bool((labels != -1).any()):
            return self._embed(points, labels, pad)
        if pad not in self._absent:
            self._absent[pad] = self._embed(points[:1], labels[:1], pad)
        return self._absent[pad].expand(len(points), -1, -1)


class MemoryReader(RoPEAttention):
    """Attention of one head with rotary position encoding, large ones object by object and without projected values.

    A `RoPEAttention` by name only, since the official layers ask for that class.

    Args:
        attention: the official module whose weights it takes over.
    """

    def __init__(self, attention: RoPEAttention) -> None:
        nn.Module.__init__(self)
        self._attention: Any = attention
        # values are projected after they are summed, by both projections at once
        output, value = attention.out_proj, attention.v_proj
        self._project = PackedLinear(output.weight @ value.weight, output.weight @ value.bias + output.bias)
        self.absent: Tensor | None = None

    @property
    def leaves_out(self) -> bool:
        """Whether objects whose memories hold different numbers of tokens may share a call: not if it is large."""
        return int(self._attention.freqs_cis.shape[0]) <= _FEW_QUERIES

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """Queries (B, N, C), keys and values (B, M, D) to (B, N, C)."""
        attention = self._attention
        if self.absent is not None:
            return self._attend_present(q, k, v, num_k_exclude_rope, self.absent)
        if q.shape[1] * k.shape[1] < _LARGE_ATTENTION:
            result: Tensor = attention(q, k, v, num_k_exclude_rope) if num_k_exclude_rope else attention(q, k, v)
            return result
        queries, keys = self._turned(q, k, num_k_exclude_rope)
        queries = queries[:, 0] * queries.shape[-1] ** -0.5
        summed = torch.stack([_attend(*item) for item in zip(queries, keys[:, 0], v, strict=True)])
        projected: Tensor = self._project(summed)
        return projected

    def _turned(self, q: Tensor, k: Tensor, num_k_exclude_rope: int) -> tuple[Tensor, Tensor]:
        """Projected queries and keys with their positions, (B, 1, N, C) and (B, 1, M, C)."""
        attention = self._attention
        queries, keys = attention.q_proj(q)[:, None], attention.k_proj(k)[:, None]
        side = int(queries.shape[2] ** 0.5)
        if attention.freqs_cis.shape[0] != queries.shape[2]:
            attention.freqs_cis = attention.compute_cis(end_x=side, end_y=side)
        turned = keys.shape[2] - num_k_exclude_rope
        queries, keys[:, :, :turned] = apply_rotary_enc(
            queries, keys[:, :, :turned], freqs_cis=attention.freqs_cis, repeat_freqs_k=attention.rope_k_repeat
        )
        return queries, keys

    def _attend_present(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int, absent: Tensor) -> Tensor:
        """The attention without the absent tokens, bool (B, M), as if they were not there."""
        queries, keys = self._turned(q, k, num_k_exclude_rope)
        values = self._attention.v_proj(v)[:, None]
        summed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=~absent[:, None, None])
        result: Tensor = self._attention.out_proj(summed[:, 0])
        return result


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention of queries (N, C) to keys (M, C) with values (M, D): (N, D)."""
    # seen as weights of linear layers, keys and values are packed once for all chunks of queries
    compare, collect = PackedLinear(keys, None), PackedLinear(values.t(), None)
    rows = max(_WEIGHTS_AT_ONCE // keys.shape[0], 16)
    return torch.cat([collect(compare(chunk).softmax(-1)) for chunk in queries.split(rows)])


def _activation_name(module: nn.Module) -> str | None:
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return "gelu"
    return "relu" if isinstance(module, nn.ReLU) else None


def _is_pointwise(module: nn.Conv2d) -> bool:
    return module.kernel_size == module.stride == (1, 1) and module.padding == (0, 0) and module.groups == 1


def _fold_neck(model: SAM2Base) -> None:
    """Make one layer of the neck's and the decoder's 1x1 convolutions of the two finest levels."""
    neck, decoder = model.image_encoder.neck, model.sam_mask_decoder
    if not model.use_high_res_features_in_sam:
        return
    for level, name in ((0, "conv_s0"), (1, "conv_s1")):
        first, second = neck.convs[len(neck.convs) - 1 - level].conv, getattr(decoder, name)
        if level in neck.fpn_top_down_levels or not (_is_pointwise(first) and _is_pointwise(second)):
            continue
        weight = second.weight[:, :, 0, 0] @ first.weight[:, :, 0, 0]
        bias = second.weight[:, :, 0, 0] @ first.bias + second.bias
        neck.convs[len(neck.convs) - 1 - level] = _Pointwise(weight, bias)
        setattr(decoder, name, nn.Identity())


def _drop_unused_masks(model: SAM2Base) -> None:
    """Leave out the weights of the masks after the first in a decoder that always offers the first."""
    decoder = model.sam_mask_decoder
    if model.multimask_output_in_sam or decoder.dynamic_multimask_via_stability:
        return
    for index in range(1, decoder.num_mask_tokens):
        unused = decoder.output_hypernetworks_mlps[index]
        decoder.output_hypernetworks_mlps[index] = _NoMask(unused.layers[-1].out_features)


def exchange_norms(module: nn.Module) -> None:
    """Exchange the norms over channels below a module that accepts maps in either memory format."""
    for name, child in module.named_children():
        if isinstance(child, LayerNorm2d):
            setattr(module, name, ChannelNorm(child))
        else:
            exchange_norms(child)


def _pack_remaining(module: nn.Module) -> None:
    """Pack all linear layers and 1x1 convolutions that are left below a module."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, PackedLinear.of(child))
        elif isinstance(child, nn.Conv2d) and _is_pointwise(child):
            setattr(module, name, _Pointwise(child.weight[:, :, 0, 0], child.bias))
        else:
            _pack_remaining(child)
