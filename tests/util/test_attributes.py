"""Attributes that would hide a method of a family or a dataset mode."""

import pytest
import torch
from toys import Joint, ToyData
from trainers import build


class Hiding(Joint):
    def __init__(self, opt, training):
        super().__init__(opt, training)
        self.rate = 0.1


def test_an_attribute_that_hides_a_method_is_reported_where_it_is_set():
    with pytest.raises(AttributeError, match=r"Hiding: self.rate = 0.1 hides the method rate\(\).*self._rate"):
        build(Hiding)
    data = ToyData.__new__(ToyData)
    with pytest.raises(AttributeError, match=r"self.window = 0.2 hides the method window\(\)"):
        data.window = 0.2


def test_methods_can_be_replaced_and_other_attributes_set():
    family = build(Joint)
    family.rate = lambda name, clock: 0.5
    family.generator, family.averaged = torch.nn.Linear(2, 2), {}
    assert family.rate("gen", None) == 0.5
