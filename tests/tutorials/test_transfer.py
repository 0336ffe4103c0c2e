"""Transfer learning as tutorials do it: cut the head, freeze, replace, rates for groups."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn, optim
from minicnn.data import DataLoader, TensorDataset

SIDE = 32


@pytest.fixture
def both_with_models(both, spread):
    """`both(program)` runs program(torch, models) in both libraries, with equal weights."""

    def run(program, rtol=1e-4):
        theirs = torchvision().models if both.torch is not None else None

        def with_models(torch):
            return program(torch, models if torch is minicnn else theirs, spread)

        with_models.__name__ = program.__name__
        return both(with_models, rtol=rtol)

    return run


def images(torch, n, side=SIDE):
    steps = torch.arange(n * 3 * side * side, dtype=torch.float64)
    return (torch.sin(steps * 0.37) + torch.cos(steps * 0.011)).view(n, 3, side, side).float()


def double(torch, net, spread):
    return spread(torch, net).double()


def cut_head(torch, models, spread):
    """The network without its last layer, as an extractor of features."""
    nn = torch.nn
    net = double(torch, models.resnet18(), spread).eval()
    body = nn.Sequential(*list(net.children())[:-1])
    for param in body.parameters():
        param.requires_grad = False
    with torch.no_grad():
        features = body(images(torch, 2).double()).flatten(1)
        by_hand = net.fc(features)
        whole = net(images(torch, 2).double())
    return [list(features.shape), features, by_hand - whole, len(list(body.children()))]


@pytest.mark.slow
def test_cut_the_head(both_with_models):
    shape, _, difference, children = both_with_models(cut_head)
    assert shape == [2, 512] and children == 9
    assert np.abs(difference.numpy()).max() < 1e-9


def fixed_extractor(torch, models, spread):
    """All layers frozen, a new head trained alone, the rate falling by steps."""
    nn = torch.nn
    model = double(torch, models.resnet18(), spread)
    for param in model.parameters():
        param.requires_grad = False
    num_ftrs = model.fc.in_features
    model.fc = double(torch, nn.Linear(num_ftrs, 2), spread)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=1e-3, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    inputs, labels = images(torch, 4).double(), torch.tensor([0, 1, 0, 1])
    criterion, losses = nn.CrossEntropyLoss(), []
    model.eval()  # the norms keep what they learnt as well
    for _ in range(4):
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    moved = [k for k, v in model.state_dict().items() if not bool((v == before[k]).all())]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return [losses, moved, trained, model.fc.weight]


@pytest.mark.slow
def test_the_head_alone(both_with_models):
    losses, moved, trained, _ = both_with_models(fixed_extractor)
    assert losses[-1] < losses[0]
    assert moved == ["fc.weight", "fc.bias"] and trained == 2 * 512 + 2


def groups_of_parameters(torch, models, spread):
    """The body at a small rate, the new head at ten times as much; the first layers frozen."""
    model = double(torch, models.resnet18(), spread)
    model.fc = double(torch, torch.nn.Linear(512, 3), spread)
    for name, param in model.named_parameters():
        if name.startswith(("conv1", "bn1", "layer1")):
            param.requires_grad = False
    head = [p for n, p in model.named_parameters() if n.startswith("fc")]
    rest = [p for n, p in model.named_parameters() if not n.startswith("fc") and p.requires_grad]
    optimizer = torch.optim.SGD(
        [{"params": rest}, {"params": head, "lr": 1e-3}], lr=1e-4, momentum=0.9, weight_decay=1e-4
    )
    before = copy.deepcopy(model.state_dict())
    inputs, labels = images(torch, 4).double(), torch.tensor([0, 1, 2, 1])
    model.train()
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    after = model.state_dict()
    still = [k for k in after if bool((after[k] == before[k]).all())]
    return [losses, still, [(g["lr"], len(g["params"])) for g in optimizer.param_groups]]


@pytest.mark.slow
def test_rates_of_their_own(both_with_models):
    losses, still, groups = both_with_models(groups_of_parameters, rtol=1e-3)
    assert losses[1] < losses[0]
    assert groups == [(1e-4, 45), (1e-3, 2)]
    assert all(name.startswith(("conv1", "bn1", "layer1")) for name in still)
    assert "conv1.weight" in still and "bn1.running_mean" not in still


HEADS = {
    "resnet18": lambda net, nn: setattr(net, "fc", nn.Linear(net.fc.in_features, 4)),
    "alexnet": lambda net, nn: net.classifier.__setitem__(
        6, nn.Linear(net.classifier[6].in_features, 4)
    ),
    "vgg11_bn": lambda net, nn: net.classifier.__setitem__(
        6, nn.Linear(net.classifier[6].in_features, 4)
    ),
    "squeezenet1_0": lambda net, nn: net.classifier.__setitem__(1, nn.Conv2d(512, 4, 1)),
    "densenet121": lambda net, nn: setattr(
        net, "classifier", nn.Linear(net.classifier.in_features, 4)
    ),
    "mobilenet_v2": lambda net, nn: net.classifier.__setitem__(1, nn.Linear(net.last_channel, 4)),
    "googlenet": lambda net, nn: setattr(net, "fc", nn.Linear(net.fc.in_features, 4)),
    "efficientnet_b0": lambda net, nn: net.classifier.__setitem__(
        1, nn.Linear(net.classifier[1].in_features, 4)
    ),
    "convnext_tiny": lambda net, nn: net.classifier.__setitem__(
        2, nn.Linear(net.classifier[2].in_features, 4)
    ),
    "shufflenet_v2_x1_0": lambda net, nn: setattr(net, "fc", nn.Linear(net.fc.in_features, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_a_new_head_for_each_network(name):
    """`model.fc = ...`, `model.classifier[6] = ...`: what each network's last layer is called."""
    options = {"googlenet": {"aux_logits": False, "init_weights": False}}.get(name, {})
    net = models.create(name, image_size=32, **options)
    for p in net.parameters():
        p.requires_grad = False
    HEADS[name](net, nn)
    net.num_classes = 4
    learnt = [n for n, p in net.named_parameters() if p.requires_grad]
    assert len(learnt) == 2 and learnt[0].endswith("weight") and learnt[1].endswith("bias")
    y = net.eval()(minicnn.zeros(1, 3, 32, 32))
    assert y.shape == (1, 4)
    y.sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is not None] == learnt


def test_features_by_a_hook():
    """A forward hook keeps what a layer returned."""
    net, kept = models.resnet18(image_size=32, num_classes=10).eval(), {}
    handle = net.avgpool.register_forward_hook(
        lambda module, args, output: kept.update(avgpool=output.detach())
    )
    with minicnn.no_grad():
        y = net(images(minicnn, 2))
    handle.remove()
    assert kept["avgpool"].shape == (2, 512, 1, 1)
    np.testing.assert_allclose(net.fc(kept["avgpool"].flatten(1)).detach().numpy(), y.numpy())


def test_a_body_learnt_on_some_classes_helps_with_others(tmp_path):
    """Save a network's weights, load them by weights=PATH, replace the head, train it alone."""
    x, y = images(minicnn, 12, 28)[:, :1], minicnn.arange(12) % 3
    net = models.lenet(num_classes=3)
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(30):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=6):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(xb), yb).backward()
            optimizer.step()
    assert float((net(x).argmax(1) == y).float().mean()) == 1.0
    path = tmp_path / "lenet.safetensors"
    minicnn.save(net.state_dict(), path)

    tuned = models.lenet(num_classes=3, weights=path)
    tuned.requires_grad_(False)
    tuned.classifier[4] = nn.Linear(84, 2)
    optimizer = optim.Adam([p for p in tuned.parameters() if p.requires_grad], lr=1e-2)
    labels = (y == 0).long()
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(tuned(x), labels).backward()
        optimizer.step()
    assert float((tuned(x).argmax(1) == labels).float().mean()) == 1.0
    for key, value in net.features.state_dict().items():
        assert np.array_equal(tuned.features.state_dict()[key].numpy(), value.numpy())
