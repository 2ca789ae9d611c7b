"""A toy with a row per training item: a critic compares vectors with the row of their item; two updates a step."""

import torch
from torch import nn
from toys import ToyData, ToyFamily

from models.family import Layout, RowTable
from models.talking_head.networks import BatchRows

WIDTH = 6


class Critic(nn.Module):
    """How near a vector is to the row of its item."""

    def __init__(self, rows: nn.Embedding):
        super().__init__()
        self.embedding = rows
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, item):
        return (self.linear(x) * self.embedding(item)).sum(1)


class Rowed(ToyFamily):
    """The rows of a step in a parameter, those of all items on the host."""

    layout = Layout("{which}_net_{entry}.pth", {"critic": "D"})
    places = 4

    def __init__(self, opt, training):
        super().__init__(opt, training)
        del self.generator

    def prepare_training(self, opt):
        self.critic = Critic(BatchRows(self.places, WIDTH))

    def optimizers(self):
        return {"dis": torch.optim.Adam(self.critic.parameters(), 1e-2, betas=(0.0, 0.999))}

    def row_tables(self):
        return {"items": RowTable("critic.embedding.weight", "dis", "item", low=-1.0)}

    def training_step(self, batch, clock):
        x, item = batch["x"].flatten(1), batch["item"]
        yield "dis", {"hinge": torch.relu(3 - self.critic(x, item)).mean()}
        yield "dis", {"hinge_again": torch.relu(2 - self.critic(x.flip(1), item)).mean()}
        return {}


class Dense(Rowed):
    """The same with the table of all items on the device."""

    count = 0

    def prepare_training(self, opt):
        self.critic = Critic(nn.Embedding(self.count, WIDTH))

    def row_tables(self):
        return {}


class RowData(ToyData):
    """The toys' data with the number of the item."""

    def __getitem__(self, index):
        return super().__getitem__(index) | {"item": index}
