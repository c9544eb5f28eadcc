"""What tests of several parts share."""

from __future__ import annotations

import io
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

# Ids that Grounding DINO's code takes for granted
_FIXED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
_WORDS = ("drone", "bird", "red", "airplane", "helicopter", "kite")


def pytest_configure() -> None:
    """Processes that tests start are ended by signals, also where this one was started to ignore them, as by nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


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


@pytest.fixture
def transport_stream() -> Callable[..., list[bytes]]:
    def make(images: Iterable[np.ndarray], fps: int = 25) -> list[bytes]:
        """An MPEG transport stream of RGB images, all of them key frames, in one piece for each."""
        file, pieces = io.BytesIO(), []
        with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "5", "g": "1", "bf": "0", "tune": "zerolatency"}
            for image in images:
                if not pieces:
                    stream.height, stream.width = image.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                pieces.append(file.getvalue())
                file.seek(0)
                file.truncate()
            container.mux(stream.encode())
        return [*pieces, file.getvalue()]

    return make


class _Camera(ThreadingHTTPServer):
    """Answers the n-th request with the n-th stream, piece by piece, and later ones with 404."""

    daemon_threads = True

    def __init__(self, streams: Sequence[Iterable[bytes]], seconds: float, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.streams, self.seconds, self.kind = streams, seconds, kind
        self.requests = itertools.count()
        self.ended = threading.Event()


class _Answer(BaseHTTPRequestHandler):
    server: _Camera

    def do_GET(self) -> None:
        number = next(self.server.requests)
        if number >= len(self.server.streams):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        due = time.monotonic()
        try:
            for piece in self.server.streams[number]:
                self.wfile.write(piece)
                due += self.server.seconds
                if self.server.ended.wait(max(due - time.monotonic(), 0)):
                    return
        except OSError:
            pass  # the other side has gone

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def http_camera() -> Iterator[Callable[..., str]]:
    servers: list[_Camera] = []

    def serve(*streams: Iterable[bytes], seconds: float = 0.04, kind: str = "video/mp2t") -> str:
        """Serve live streams, one for each connection; the address."""
        server = _Camera(streams, seconds, kind)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/live"

    yield serve
    for server in servers:
        server.ended.set()
        server.shutdown()
        server.server_close()
