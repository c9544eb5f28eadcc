"""What tests of several parts share."""

from pathlib import Path

import pytest

# Ids that Grounding DINO's code takes for granted
_FIXED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
_WORDS = ("drone", "bird", "red", "airplane", "helicopter", "kite")


@pytest.fixture(scope="session")
def tiny_grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Grounding DINO of the real classes, tiny and with random weights, made without a network."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("grounding_dino")
    torch.manual_seed(3)
    names = {number: f"[unused{number}]" for number in range(1100)} | {n: word for word, n in _FIXED.items()}
    names |= dict(enumerate(_WORDS, start=1100))
    transformers.BertTokenizer(vocab={names[n]: n for n in sorted(names)}).save_pretrained(folder)
    swin = transformers.SwinConfig(
        embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = transformers.BertConfig(
        vocab_size=len(names), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=20,
        disable_custom_kernels=True,
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    transformers.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 128}).save_pretrained(folder)
    return folder
