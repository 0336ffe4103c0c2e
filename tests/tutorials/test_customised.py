"""Later chapters: own optimizers and schedules, phases, early stopping, mixup, reproducibility."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest


def points(torch, n=60):
    """Two classes of points in the plane, no chance involved."""
    t = torch.arange(float(n)) / n * 3 * math.pi
    label = torch.arange(n) % 2
    radius = 0.5 + label.float() + 0.1 * torch.sin(7 * t)
    return torch.stack((radius * torch.cos(t), radius * torch.sin(t)), dim=1), label


def mlp(torch, spread):
    nn = torch.nn
    return spread(torch, nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)))


def own_optimizers(torch, spread):
    """Subclasses of Optimizer, with state, a closure, and a schedule of one's own."""
    Optimizer = torch.optim.Optimizer

    class PlainSGD(Optimizer):
        def __init__(self, params, lr=1e-2, momentum=0.0):
            if lr < 0.0:
                raise ValueError(f"Invalid learning rate: {lr}")
            super().__init__(params, {"lr": lr, "momentum": momentum})

        @torch.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = 0
                        state["velocity"] = torch.zeros_like(p)
                    state["step"] += 1
                    v = state["velocity"].mul_(group["momentum"]).add_(p.grad)
                    p.add_(v, alpha=-group["lr"])
            return loss

    class HandAdam(Optimizer):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
            super(HandAdam, self).__init__(params, dict(lr=lr, betas=betas, eps=eps))  # noqa: C408, UP008

        def step(self):
            for group in self.param_groups:
                beta1, beta2 = group["betas"]
                for p in group["params"]:
                    grad = p.grad.data
                    state = self.state[p]
                    if not state:
                        state.update(t=0, m=torch.zeros_like(p.data), v=torch.zeros_like(p.data))
                    state["t"] += 1
                    state["m"] = beta1 * state["m"] + (1 - beta1) * grad
                    state["v"] = beta2 * state["v"] + (1 - beta2) * grad**2
                    m = state["m"] / (1 - beta1 ** state["t"])
                    v = state["v"] / (1 - beta2 ** state["t"])
                    p.data = p.data - group["lr"] * m / (v.sqrt() + group["eps"])

    class WarmUp(torch.optim.lr_scheduler.LRScheduler):
        def __init__(self, optimizer, steps, last_epoch=-1):
            self.steps = steps
            super().__init__(optimizer, last_epoch)

        def get_lr(self):
            return [base * min(1.0, (self.last_epoch + 1) / self.steps) for base in self.base_lrs]

    x, y = points(torch)
    criterion = torch.nn.CrossEntropyLoss()
    shown = []
    make = {
        "own sgd": lambda params: PlainSGD(params, lr=0.5, momentum=0.9),
        "sgd": lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.9),
        "own adam": lambda params: HandAdam(params, lr=0.05),
        "adam": lambda params: torch.optim.Adam(params, lr=0.05),
    }
    for name, optimizer_of in make.items():
        net = mlp(torch, spread)
        optimizer = optimizer_of(net.parameters())
        scheduler = WarmUp(optimizer, steps=4)
        rates = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        shown.append((name, loss.item(), rates, net[0].weight.detach().clone()))

    net = mlp(torch, spread)
    optimizer = PlainSGD(net.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(3)]
    return [*shown, losses, len(optimizer.state), repr(optimizer)]


def test_own_optimizers(both, spread):
    own_sgd, sgd, own_adam, adam, *_ = both(own_optimizers, spread, rtol=1e-3)
    assert abs(own_sgd[1] - sgd[1]) < 1e-5
    assert abs(own_adam[1] - adam[1]) < 1e-5
    np.testing.assert_allclose(sgd[2][:5], [0.125, 0.25, 0.375, 0.5, 0.5])


def phases_and_best_weights(torch, spread):
    """`for phase in ['train', 'val']`, the best weights kept by deepcopy, early stopping."""
    x, y = points(torch)
    order = (torch.arange(60) * 7) % 60
    split = {"train": order[:45], "val": order[45:]}
    datasets = {k: torch.utils.data.TensorDataset(x[i], y[i]) for k, i in split.items()}
    dataloaders = {k: torch.utils.data.DataLoader(d, batch_size=15) for k, d in datasets.items()}
    dataset_sizes = {k: len(d) for k, d in datasets.items()}
    model = mlp(torch, spread)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    best_model_wts, best_acc, bad_epochs, lines = copy.deepcopy(model.state_dict()), 0.0, 0, []
    for epoch in range(12):
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data)
            if phase == "train":
                scheduler.step()
            epoch_loss = running_loss / dataset_sizes[phase]
            epoch_acc = running_corrects.double() / dataset_sizes[phase]
            lines.append(f"{epoch} {phase} Loss: {epoch_loss:.2f} Acc: {epoch_acc:.4f}")
        if epoch_acc > best_acc:
            best_acc, bad_epochs = epoch_acc, 0
            best_model_wts = copy.deepcopy(model.state_dict())
        else:
            bad_epochs += 1
            if bad_epochs >= 3:
                break
    model.load_state_dict(best_model_wts)
    return [*lines, f"Best val Acc: {best_acc:4f}", best_acc, model[2].bias]


def test_phases_and_best_weights(both, spread):
    assert both(phases_and_best_weights, spread, rtol=1e-3)[-2].item() > 0.9


def losses_of_ones_own(torch, spread):
    """Focal loss, label smoothing by hand, mixup, a weight penalty, a loss that is a Module."""
    nn, F = torch.nn, torch.nn.functional

    class FocalLoss(nn.Module):
        def __init__(self, gamma=2.0, weight=None):
            super().__init__()
            self.gamma = gamma
            self.register_buffer("weight", weight)

        def forward(self, input, target):
            ce = F.cross_entropy(input, target, weight=self.weight, reduction="none")
            pt = torch.exp(-ce)
            return ((1 - pt) ** self.gamma * ce).mean()

    class LabelSmoothing(nn.Module):
        def __init__(self, classes, smoothing=0.1, dim=-1):
            super().__init__()
            self.confidence, self.smoothing = 1.0 - smoothing, smoothing
            self.cls, self.dim = classes, dim

        def forward(self, pred, target):
            pred = pred.log_softmax(dim=self.dim)
            with torch.no_grad():
                true_dist = torch.zeros_like(pred)
                true_dist.fill_(self.smoothing / (self.cls - 1))
                true_dist.scatter_(1, target.data.unsqueeze(1), self.confidence)
            return torch.mean(torch.sum(-true_dist * pred, dim=self.dim))

    x, y = points(torch)
    net = mlp(torch, spread)
    lam, index = 0.3, (torch.arange(60) * 7) % 60
    mixed_x = lam * x + (1 - lam) * x[index, :]
    pred = net(mixed_x)
    losses = {
        "focal": FocalLoss()(net(x), y),
        "weighted": FocalLoss(0.0, torch.tensor([1.0, 3.0]))(net(x), y),
        "smooth": LabelSmoothing(2, 0.1)(net(x), y),
        "mixup": lam * F.cross_entropy(pred, y) + (1 - lam) * F.cross_entropy(pred, y[index]),
        "soft": F.cross_entropy(net(x), F.one_hot(y, 2).float()),
        "l2": sum(p.pow(2.0).sum() for p in net.parameters()) * 1e-2,
        "l1": sum(torch.abs(p).sum() for name, p in net.named_parameters() if "weight" in name),
        "hinge": torch.clamp(1 - net(x)[:, 0] * (2 * y - 1), min=0).mean(),
    }
    gradients = {}
    for name, loss in losses.items():
        net.zero_grad()
        loss.backward(retain_graph=True)
        gradients[name] = net[0].weight.grad.clone()
    return {name: loss.item() for name, loss in losses.items()}, gradients


def test_losses_of_ones_own(both, spread):
    both(losses_of_ones_own, spread, rtol=1e-4)


def modern_blocks(torch, spread):
    """Squeeze and excitation, depthwise separable, inverted residual, channel shuffle."""
    nn = torch.nn

    class SELayer(nn.Module):
        def __init__(self, channel, reduction=4):
            super().__init__()
            self.avg_pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Sequential(
                nn.Linear(channel, channel // reduction, bias=False),
                nn.ReLU(inplace=True),
                nn.Linear(channel // reduction, channel, bias=False),
                nn.Sigmoid(),
            )

        def forward(self, x):
            b, c, _, _ = x.size()
            y = self.avg_pool(x).view(b, c)
            y = self.fc(y).view(b, c, 1, 1)
            return x * y.expand_as(x)

    class InvertedResidual(nn.Module):
        def __init__(self, inp, oup, stride, expand_ratio):
            super().__init__()
            hidden_dim = round(inp * expand_ratio)
            self.identity = stride == 1 and inp == oup
            self.conv = nn.Sequential(
                nn.Conv2d(inp, hidden_dim, 1, 1, 0, bias=False),
                nn.BatchNorm2d(hidden_dim),
                nn.ReLU6(inplace=True),
                nn.Conv2d(hidden_dim, hidden_dim, 3, stride, 1, groups=hidden_dim, bias=False),
                nn.BatchNorm2d(hidden_dim),
                nn.ReLU6(inplace=True),
                nn.Conv2d(hidden_dim, oup, 1, 1, 0, bias=False),
                nn.BatchNorm2d(oup),
            )

        def forward(self, x):
            return x + self.conv(x) if self.identity else self.conv(x)

    def channel_shuffle(x, groups):
        b, c, h, w = x.data.size()
        x = x.view(b, groups, c // groups, h, w)
        x = torch.transpose(x, 1, 2).contiguous()
        return x.view(b, -1, h, w)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding="same", bias=False),
                SELayer(8),
                InvertedResidual(8, 8, 1, 2),
                InvertedResidual(8, 4, 2, 1.5),
            )
            self.classifier = nn.Linear(4, 3)

        def forward(self, x):
            x1, x2 = self.features(x).chunk(2, dim=1)
            x = channel_shuffle(torch.cat((x1, x2), 1), 2)
            x = x.mean([2, 3])
            return self.classifier(x)

    net = spread(torch, Net())
    x = torch.cos(torch.arange(2.0 * 12 * 12) * 0.37).reshape(2, 1, 12, 12)
    out = net(x)
    out.pow(2).sum().backward()
    # All in one tensor: those before a batch norm are 0 but for rounding.
    grads = torch.stack([p.grad.norm() for _, p in net.named_parameters()])
    return out, grads, sum(p.numel() for p in net.parameters())


def test_modern_blocks(both, spread):
    both(modern_blocks, spread, rtol=1e-3)


def seeds(torch):
    """The same seed gives the same weights, batches and masks; a generator of one's own too."""

    def run(seed):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5))
        data = torch.utils.data.TensorDataset(torch.randn(12, 4), torch.randint(0, 3, (12,)))
        loader = torch.utils.data.DataLoader(data, batch_size=5, shuffle=True)
        return torch.cat([net(x) for x, _ in loader]), torch.randperm(5)

    def equal(a, b):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    g = torch.Generator().manual_seed(3)
    first = torch.rand(4, generator=g)
    g.manual_seed(3)
    again = torch.rand(4, generator=g)
    state = torch.get_rng_state()
    before = torch.randn(3)
    torch.set_rng_state(state)
    shown = [torch.equal(first, again), g.initial_seed(), torch.equal(before, torch.randn(3))]
    return [*shown, equal(run(0), run(0)), equal(run(0), run(1))]


def test_seeds(both):
    assert both(seeds) == [True, 3, True, True, False]


def cross_validation(torch, spread):
    """K folds over indices with SubsetRandomSampler, predictions collected as NumPy arrays."""
    data = torch.utils.data
    x, y = points(torch)
    dataset = data.TensorDataset(x, y)
    folds = np.array_split(np.arange(len(dataset)) * 7 % len(dataset), 3)
    sizes, accuracies = [], []
    for k, val_idx in enumerate(folds):
        train_idx = np.concatenate([f for i, f in enumerate(folds) if i != k])
        train = data.DataLoader(dataset, batch_size=10, sampler=data.SubsetRandomSampler(train_idx))
        val = data.DataLoader(data.Subset(dataset, val_idx.tolist()), batch_size=7)
        sizes.append((len(train), len(val)))
        net = mlp(torch, spread)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        for _ in range(8):
            for xb, yb in train:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(xb), yb).backward()
                optimizer.step()
        y_pred, y_true = [], []
        with torch.no_grad():
            for xb, yb in val:
                y_pred.extend(net(xb).argmax(1).cpu().numpy())
                y_true.extend(yb.data.cpu().numpy())
        accuracies.append(bool(np.mean(np.array(y_pred) == np.array(y_true)) > 0.8))
    return sizes, accuracies


@pytest.mark.slow
def test_cross_validation(both, spread):
    assert both(cross_validation, spread) == ([(4, 3)] * 3, [True] * 3)
