"""Checkpoints: the official layout loads strictly, and what does not fit is refused with a remedy."""

from pathlib import Path

import pytest
import torch

from smotracker_ros.masklets.checkpoints import (
    NANO_CONFIG,
    NANO_WEIGHTS,
    ModelError,
    config_for,
    instantiate_config,
    load_network,
)


def test_the_embedded_model_loads_and_is_small() -> None:
    network = load_network()
    assert network.name == "sam2-nano"
    assert network.dense_box_prompt
    assert network.image_size == 128
    assert NANO_WEIGHTS.stat().st_size < 12e6


@pytest.mark.parametrize("size", ["t", "s", "b+", "l"])
@pytest.mark.parametrize("version", ["2", "2.1"])
def test_the_configuration_is_found_from_the_keys(version: str, size: str) -> None:
    import sam2

    path = Path(sam2.__path__[0]) / "configs" / f"sam{version}" / f"sam{version}_hiera_{size}.yaml"
    state = instantiate_config(path).state_dict()
    assert config_for(state) == (f"sam{version}-hiera-{size}", path)


def test_an_official_checkpoint_loads_strictly_at_another_input_size(tmp_path: Path) -> None:
    import sam2

    path = Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml"
    model = instantiate_config(path)
    torch.save({"model": model.state_dict()}, tmp_path / "tiny.pt")
    network = load_network(tmp_path / "tiny.pt", image_size=256)
    assert network.name == "sam2.1-hiera-t"
    assert network.image_size == 256
    assert not network.dense_box_prompt
    for key, value in network.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.pt: no such weight file"):
        load_network(tmp_path / "absent.pt")


def test_truncated_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(NANO_WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"broken\.pt cannot be read .* fetch it again"):
        load_network(broken)


def test_other_content(tmp_path: Path) -> None:
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="not a SAM2 checkpoint"):
        load_network(tmp_path / "other.pt")


def test_renamed_key_and_wrong_shape(tmp_path: Path) -> None:
    state = instantiate_config(NANO_CONFIG).state_dict()
    renamed = {("x." + key if "obj_ptr_proj" in key else key): value for key, value in state.items()}
    torch.save({"model": renamed}, tmp_path / "renamed.pt")
    with pytest.raises(ModelError, match="looks like sam2-nano but does not fit"):
        load_network(tmp_path / "renamed.pt")
    shape = {**state, "image_encoder.trunk.patch_embed.proj.weight": torch.zeros(50, 3, 7, 7)}
    torch.save({"model": shape}, tmp_path / "shape.pt")
    with pytest.raises(ModelError, match="no SAM2 size known"):
        load_network(tmp_path / "shape.pt")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {marker}",)

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError):
        load_network(tmp_path / "evil.pt")
    assert not marker.exists()
