"""Settings of the tracker, each with its meaning and range in one place.

The command line, the YAML files in `config/`, and the node's declared parameters are all derived from
:class:`TrackerSettings`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smotracker_ros.core.ignore_mask import IgnoreMask, IgnoreMaskError
from smotracker_ros.core.prompts import prompt_phrases
from smotracker_ros.core.retired_settings import about_unknown
from smotracker_ros.models.weight_files import locate_weights

# Grounding DINO reads 256 tokens, and none is shorter than a character
_LONGEST_PROMPT = 240

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


# Headings under which users find the settings
_DETECTOR = "What the detector is"
_CLIPS = "When the detector runs"
_MASKLETS = "How SAM2 follows targets"
_TARGETS = "Which targets there are, and for how long"
_RESULTS = "What is reported"
_MACHINE = "What computes"


class SettingsError(ValueError):
    """A setting with an unknown name, a wrong type or a value out of range."""


def _setting(
    group: str,
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    multiple: int = 1,
    least: int = 0,
    choices: tuple[str, ...] = (),
    dynamic: bool = True,
) -> Any:
    """A dataclass field with what a user needs to know.

    Args:
        group: heading under which users find it.
        default: of the setting's type.
        description: for users.
        minimum: least number allowed.
        maximum: greatest number allowed.
        multiple: whole numbers must be multiples of it.
        least: the least number but 0, where 0 stands for something else.
        choices: texts allowed; empty: any.
        dynamic: may change while the tracker runs.
    """
    metadata = {
        "group": group,
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "multiple": multiple,
        "least": least,
        "choices": choices,
        "dynamic": dynamic,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrackerSettings:
    """Everything that a preset fixes; whatever is here is worth turning for some user.

    Each field's metadata holds group, description, minimum, maximum, multiple, least, choices, dynamic.
    """

    detector: str = _setting(
        _DETECTOR,
        "yolo",
        "Kind of detector: a YOLO of ultralytics, or Grounding DINO, which finds what `prompt` names.",
        choices=("yolo", "grounding_dino"),
        dynamic=False,
    )
    prompt: str = _setting(
        _DETECTOR,
        "drone . bird . airplane . helicopter .",
        "What Grounding DINO looks for: phrases, each ended by a full stop; they become the classes.",
    )
    detector_weights: str = _setting(
        _DETECTOR,
        "",
        "yolo: a detector of ultralytics (YOLO, YOLO-World, RT-DETR), .pt or, of a YOLO, its ONNX export; empty: the "
        "embedded YOLOv10n. grounding_dino: a folder in transformers' format, or a name on the Hugging Face hub; "
        "empty: IDEA-Research/grounding-dino-tiny.",
        dynamic=False,
    )
    trusted_weights: str = _setting(
        _DETECTOR,
        "",
        "Folders, separated by ':', whose pickled detector weights may be loaded, besides the package's own and that "
        "of `smotracker weights fetch`; `anywhere`: from any folder. Loading a pickle runs the code that is in it.",
        dynamic=False,
    )
    offline: bool = _setting(
        _DETECTOR, True, "Take models with a hub name from the local cache only; false: download them.", dynamic=False
    )
    detector_image_size: int = _setting(
        _DETECTOR,
        0,
        "Longer side in pixels, 32 or more, at which the detector sees a frame; 0: the model's choice, 640 to 1280 for "
        "the embedded one, at most 640 for others.",
        minimum=0,
        maximum=4096,
        least=32,
    )
    slice_size: int = _setting(
        _DETECTOR,
        0,
        "Side in pixels, 32 or more, of the slices of a large frame that the detector sees one by one; 0: none.",
        minimum=0,
        maximum=4096,
        least=32,
        dynamic=False,
    )
    detector_confidence: float = _setting(
        _DETECTOR, 0.1, "Detections below this confidence are ignored everywhere.", minimum=0.0, maximum=1.0
    )

    clip_seconds: float = _setting(
        _CLIPS,
        0.4,
        "Length of a clip: the detector sees all of the first frame of each. 0: of every frame.",
        minimum=0.0,
        maximum=60.0,
    )
    adaptive_clips: bool = _setting(
        _CLIPS, True, "Run the detector earlier when none is alive, and around masklets that are uncertain."
    )
    max_detector_share: float = _setting(
        _CLIPS,
        1.0,
        "Most of the frames that the detector sees in the long run, 1 is all; clips become longer where it is used up.",
        minimum=0.001,
        maximum=1.0,
    )
    prompts: str = _setting(
        _CLIPS,
        "every_clip",
        "When detections start and correct masklets: at every clip, or on the first frame with detections alone.",
        choices=("every_clip", "first_frame"),
    )

    masklet_weights: str = _setting(
        _MASKLETS, "", "SAM2 or SAM2.1 checkpoint (.pt); empty: the embedded nano SAM2.", dynamic=False
    )
    masklet_image_size: int = _setting(
        _MASKLETS,
        0,
        "Side in pixels, a multiple of 32, of what SAM2 sees; 0: nano's own; for official checkpoints 256 on a CPU and "
        "512 on a GPU.",
        minimum=0,
        maximum=2048,
        multiple=32,
        dynamic=False,
    )
    masklet_mode: str = _setting(
        _MASKLETS,
        "auto",
        "What SAM2 looks at: a window round each target, the whole frame, or by target size and cost.",
        choices=("auto", "windows", "whole_frame"),
    )
    masklet_seconds: float = _setting(
        _MASKLETS,
        0.1,
        "SAM2 looks at a calm, lonely target once in so many seconds, at a doubtful one sooner, at one that has long "
        "waited to be CONFIRMED later; between, its mask follows its picture. 0: in every frame.",
        minimum=0.0,
        maximum=1.0,
    )
    memory_policy: str = _setting(
        _MASKLETS,
        "motion_aware",
        "Which frames enter a masklet's memory: every one, or only those whose scores and motion agree; "
        "distractor_aware also keeps frames on which the target was told apart from something similar.",
        choices=("fifo", "motion_aware", "distractor_aware"),
    )
    mask_choice: str = _setting(
        _MASKLETS,
        "network",
        "Which of the masks that SAM2 offers is taken: the one that it rates highest, or SAMURAI's choice, in which a "
        "Kalman filter has a say.",
        choices=("network", "motion_aware"),
    )

    birth_confidence: float = _setting(
        _TARGETS,
        0.2,
        "An unmatched detection starts a masklet from this confidence on.",
        minimum=0.0,
        maximum=1.0,
    )
    confirm_probability: float = _setting(
        _TARGETS,
        0.6,
        "A masklet is CONFIRMED, and reported, once it is a target with this probability, and LOST below half of it; "
        "0: CONFIRMED at once, and never LOST by that.",
        minimum=0.0,
        maximum=1.0,
    )
    existence_weights: str = _setting(
        _TARGETS,
        "",
        "Weights of the evidence for and against targets, as `smotracker train existence` writes them; empty: those "
        "shipped.",
        dynamic=False,
    )
    lost_seconds: float = _setting(
        _TARGETS,
        5.0,
        "A LOST masklet keeps its memory, and may be found again, for this long.",
        minimum=0.0,
        maximum=600.0,
    )
    max_live_tracks: int = _setting(
        _TARGETS,
        64,
        "Masklets propagated at once, beyond which detections start none; as many LOST ones are kept, and the longest "
        "lost go first.",
        minimum=1,
        maximum=1024,
    )
    ignore_mask: str = _setting(
        _TARGETS,
        "",
        "Places of the image in which nothing starts or feeds a track: a PNG (white is ignored), or polygons in YAML.",
    )

    reported_score: str = _setting(
        _RESULTS,
        "confidence",
        "What a track's score is: the mean confidence of its detections, or the probability of it being a target.",
        choices=("confidence", "probability"),
    )
    box_convention: str = _setting(
        _RESULTS,
        "detector",
        "Reported boxes: as loose as the detector's, or tight round the mask.",
        choices=("detector", "mask"),
    )
    box_margin: float = _setting(
        _RESULTS,
        0.0,
        "Reported boxes are scaled about their centre by 1 + box_margin, for labels that are looser (or tighter: below "
        "0) than the visible target; tracking does not change.",
        minimum=-0.4,
        maximum=4.0,
    )

    device: str = _setting(_MACHINE, "auto", "torch device: auto, cpu, cuda or cuda:N.", dynamic=False)
    precision: str = _setting(
        _MACHINE,
        "auto",
        "Number format in which SAM2 and Grounding DINO compute; auto: the fastest on the device for the network. "
        "int8: the same, and on a CPU the embedded detector in int8, a little less exact.",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
        dynamic=False,
    )
    runtime: str = _setting(
        _MACHINE,
        "auto",
        "What computes the YOLO detector and SAM2. auto: onnxruntime for the embedded models on a CPU, torch for the "
        "rest; torch_compile: torch, with an encoder that takes minutes to compile before tracking begins; onnxruntime "
        "and openvino need exports of other YOLO detectors and of other SAM2 models' image encoders, made once.",
        choices=("auto", "torch", "torch_compile", "onnxruntime", "openvino"),
        dynamic=False,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_setting(field, getattr(self, field.name))
        try:
            IgnoreMask.load(self.ignore_mask)
        except IgnoreMaskError as error:
            raise SettingsError(str(error)) from error
        phrases = prompt_phrases(self.prompt)
        readable = self.prompt.isprintable() and all(any(map(str.isalnum, phrase)) for phrase in phrases)
        if not phrases or not readable or len(self.prompt) > _LONGEST_PROMPT:
            raise SettingsError(
                f"prompt must name what to look for in at most {_LONGEST_PROMPT} characters, such as 'drone . bird .', "
                f"not {self.prompt[:60]!r}"
            )
        if not _DEVICE.fullmatch(self.device):
            raise SettingsError(f"device must be auto, cpu, cuda or cuda:N, not {self.device!r}")

    def replace(self, overrides: Mapping[str, Any]) -> TrackerSettings:
        """A copy with some settings changed. Files that it names for the first time must exist.

        Raises:
            SettingsError: if a name is unknown or a value is not allowed.
        """
        names = {field.name for field in dataclasses.fields(self)}
        unknown = sorted(set(overrides) - names)
        if unknown:
            meant = about_unknown(unknown[0], names, f"; there are: {', '.join(sorted(names))}")
            raise SettingsError(f"unknown setting {', '.join(unknown)}{meant}")
        changed = dataclasses.replace(self, **dict(overrides))
        different = {name for name in overrides if getattr(changed, name) != getattr(self, name)}
        if "detector" in different:
            different.add("detector_weights")  # what one kind can load is nothing for the other
        for name in different:
            changed._check_file(name)
        return changed

    def _check_file(self, name: str) -> None:
        """Refuse a setting that names a file or folder which does not exist.

        Raises:
            SettingsError: naming the setting and the file.
        """
        value = getattr(self, name)
        if not value:
            return
        if name == "detector_weights" and self.detector == "grounding_dino":
            path = Path(value).expanduser()
            if not path.is_dir() and (path.exists() or not _HUB_NAME.fullmatch(value)):
                raise SettingsError(
                    f"{name} of grounding_dino must be an existing folder or a name on the Hugging Face hub, not "
                    f"{value!r}"
                )
        elif name in ("detector_weights", "masklet_weights"):
            path = locate_weights(value)
            if not path.exists():
                raise SettingsError(
                    f"{name}: {path}: no such weight file; give an existing one, a name of `smotracker weights list` "
                    "that has been fetched, or leave the setting empty"
                )
        elif name == "existence_weights" and not Path(value).expanduser().is_file():
            raise SettingsError(f"{name}: {value}: no such file; `smotracker train existence` writes one")


def check_setting(field: dataclasses.Field[Any], value: Any) -> None:
    """Check one value against its field of :class:`TrackerSettings`.

    Raises:
        SettingsError: naming the setting, the value and what is allowed.
    """
    expected = type(field.default)
    is_number = expected is float and isinstance(value, int) and not isinstance(value, bool)
    if not is_number and type(value) is not expected:
        raise SettingsError(f"{field.name} must be of type {expected.__name__}, not {type(value).__name__} ({value!r})")
    minimum, maximum, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    if choices and value not in choices:
        raise SettingsError(f"{field.name} must be one of {', '.join(choices)}, not {value!r}")
    if minimum is not None and not minimum <= value <= maximum:
        raise SettingsError(f"{field.name} must lie in [{minimum}, {maximum}], not {value!r}")
    if (multiple := field.metadata["multiple"]) > 1 and value % multiple:
        raise SettingsError(f"{field.name} must be a multiple of {multiple}, not {value}")
    if (least := field.metadata["least"]) and 0 < value < least:
        raise SettingsError(f"{field.name} must be 0 or at least {least}, not {value}")
