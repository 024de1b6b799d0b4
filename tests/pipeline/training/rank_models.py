"""A tiny model that leaves notes of what its ranks go through."""

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.pipeline.training.tiny_models import TinyModel


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


class NotedModel(TinyModel):
    """Notes a digest of weights and statistics at each validation, and dies or waits in epoch 2 if told."""

    def training_loss(self, batch: Any) -> Tensor:
        kill, hold = self.notes / "kill", self.notes / "hold"
        if list(self.data.working_dir.glob("checkpoints/*/last.ckpt")):
            if rank() == 1 and kill.exists():
                kill.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            while hold.exists():
                time.sleep(0.1)
        return super().training_loss(batch)

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        digest = hashlib.sha256()
        for value in self.network.state_dict().values():
            digest.update(value.contiguous().numpy().tobytes())
        with (self.notes / f"rank-{rank()}").open("a") as file:
            file.write(digest.hexdigest() + "\n")
        return super().judged(batch)

    @property
    def notes(self) -> Path:
        return Path(self.spec.parameters["notes"])
