"""The processes that train one model together, as each of them sees it."""

import inspect
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from rasterloom.models.errors import SettingError

_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")  # torch renamed it in 2.15
    if name in inspect.signature(DistributedDataParallel).parameters
)
"""Whether each forward pass sends the buffers of the first rank to all."""

_PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others: the first one may look for a learning rate meanwhile."""


@dataclass(frozen=True)
class Team:
    """One process among those that train together."""

    rank: int = 0
    """Its number, 0..size-1; the first one writes and tells."""
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch is this process's, in the words of the loaders."""
        return self.rank, self.size

    def gathered(self, value: Any) -> list[Any]:
        """Everyone's value, in the order of ranks; everyone has to ask."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def averaged(self, buffers: Iterable[torch.Tensor]) -> None:
        """Bring each tensor of fractions to its mean over all ranks, in place; everyone has to ask."""
        if self.size == 1:
            return
        for buffer in buffers:
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer /= self.size

    def trainer_settings(self, device: torch.device) -> dict[str, Any]:
        """What Lightning's trainer has to be told of the team."""
        if self.size == 1:
            # Named, so that a batch system's variables do not change how the run is started.
            return {"plugins": [LightningEnvironment()]}
        strategy = DDPStrategy(
            cluster_environment=_Ranks(self),
            # Ranks may judge unlike numbers of batches, so nothing is sent in a forward pass: the statistics
            # of normalisation layers are averaged once an epoch instead.
            **{_BUFFERS: False},
            # A backbone may have stages that the model makes no use of.
            find_unused_parameters=True,
        )
        # On the CPU there is no normalisation over all ranks.
        together = device.type == "cuda"
        return {"strategy": strategy, "num_nodes": self.size, "sync_batchnorm": together}


ALONE = Team()


def joined_team() -> Team:
    """Meet the other ranks; torchrun's variables say who and where they are.

    Raises
    ------
    SettingError
        If some of them have a GPU and others have not.
    """
    team = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if team.size == 1:
        return team
    gpu = torch.cuda.is_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    having = [rank for rank, has in enumerate(team.gathered(gpu)) if has]
    if having and len(having) < team.size:
        raise SettingError(
            f"of {team.size} ranks only {having} have a GPU of their own: give ranks={len(having)} and a "
            "cluster of workers with one GPU each, or set CUDA_VISIBLE_DEVICES= for all workers."
        )
    return team


def take_own_gpu() -> None:
    """Let this process see one GPU, the one that is its own; to be called before torch looks for any.

    A process that is to see none goes on seeing none.
    """
    number, listed = int(os.environ.get("LOCAL_RANK", "0")), os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
        return
    # one beyond the list is none at all, which joined_team tells of
    os.environ["CUDA_VISIBLE_DEVICES"] = (listed.split(",") + [""] * (number + 1))[number]


def leave_team() -> None:
    """Let go of the others, once all is done."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def mean_of(parts: Iterable[tuple[float, int]]) -> float:
    """Mean of several sums, each with its count; not a number without any."""
    totals, counts = zip(*parts, strict=True)
    return math.fsum(totals) / sum(counts) if sum(counts) else math.nan


class _Ranks(ClusterEnvironment):
    """Tells Lightning of processes that were started by others."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return os.environ["MASTER_ADDR"]

    @property
    def main_port(self) -> int:
        return int(os.environ["MASTER_PORT"])

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._team.size

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self._team.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self._team.rank
