"""What surrounds training: schedules, clipping, groups, freezing, checkpoints, hooks, data."""

from __future__ import annotations

import copy

import numpy as np
import pytest


def small_net(torch, spread):
    nn = torch.nn
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 4))  # fmt: skip
    return spread(torch, net)


def batch(torch, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((6, 1, 8, 8)).astype(np.float32))
    return x, torch.from_numpy(rng.integers(0, 4, 6))


def learning_rates(torch, spread):
    """The rate that each schedule gives, epoch by epoch, as tutorials plot it."""
    lr_scheduler = torch.optim.lr_scheduler
    schedules = {
        "step": lambda opt: lr_scheduler.StepLR(opt, step_size=3, gamma=0.1),
        "multi": lambda opt: lr_scheduler.MultiStepLR(opt, milestones=[2, 6], gamma=0.5),
        "cosine": lambda opt: lr_scheduler.CosineAnnealingLR(opt, T_max=8, eta_min=1e-3),
        "lambda": lambda opt: lr_scheduler.LambdaLR(opt, lr_lambda=lambda epoch: 0.95**epoch),
        "cycle": lambda opt: lr_scheduler.OneCycleLR(opt, max_lr=0.4, total_steps=10),
    }
    rates = {}
    x, y = batch(torch)
    for name, make in schedules.items():
        net = small_net(torch, spread)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        scheduler = make(optimizer)
        rates[name] = []
        for _ in range(8):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            rates[name].append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        rates[name] += scheduler.get_last_lr()
    return rates


@pytest.mark.slow
def test_learning_rates(both, spread):
    rates = both(learning_rates, spread, rtol=1e-9)
    np.testing.assert_allclose(rates["step"][2:5], [0.1, 0.01, 0.01])


def rates_by_hand(torch, spread):
    """Before schedulers: `for param_group in optimizer.param_groups`; clipping and its norm."""

    def adjust_learning_rate(optimizer, epoch, lr=0.1):
        lr = lr * (0.1 ** (epoch // 2))
        for param_group in optimizer.param_groups:
            param_group["lr"] = lr

    net = small_net(torch, spread)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4,
                                nesterov=True)  # fmt: skip
    x, y = batch(torch)
    norms = []
    for epoch in range(4):
        adjust_learning_rate(optimizer, epoch)
        optimizer.zero_grad()
        loss = torch.nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.5)
        total = torch.sqrt(sum(torch.sum(p.grad**2) for p in net.parameters()))
        norms += [float(norm), total.item()]
        torch.nn.utils.clip_grad_value_(net.parameters(), clip_value=0.2)
        norms.append(max(p.grad.abs().max().item() for p in net.parameters()))
        optimizer.step()
    return (
        norms,
        loss,
        net[0].weight,
        torch.nn.utils.parameters_to_vector(net.parameters()).shape[0],
    )


def test_rates_by_hand(both, spread):
    norms = both(rates_by_hand, spread, rtol=1e-4)[0]
    assert norms[1] <= 0.5 + 1e-6


def transfer_learning(torch, spread):
    """Frozen features, a new head with its own group and rate."""
    nn = torch.nn
    model = small_net(torch, spread)
    for param in model.parameters():
        param.requires_grad = False
    model[5] = spread(torch, nn.Linear(model[5].in_features, 2))
    before = copy.deepcopy(model.state_dict())
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-2)
    model.eval()
    x, y = batch(torch)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y % 2).backward()
        optimizer.step()
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    shown = [len(trainable), changed, model[0].weight.grad is None, model[5].weight]

    for param in model[0].parameters():
        param.requires_grad_(True)
    base = list(map(id, model[5].parameters()))
    rest = [p for p in model.parameters() if id(p) not in base and p.requires_grad]
    optimizer = torch.optim.SGD(
        [{"params": rest}, {"params": model[5].parameters(), "lr": 0.1, "momentum": 0}],
        lr=0.01, momentum=0.9,
    )  # fmt: skip
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y % 2).backward()
        optimizer.step()
    shown += [[(g["lr"], g["momentum"], len(g["params"])) for g in optimizer.param_groups]]
    return [*shown, model[0].weight, model[5].bias, model[1].running_mean, repr(optimizer)[:5]]


def test_transfer_learning(both, spread):
    shown = both(transfer_learning, spread, rtol=1e-4)
    assert shown[:3] == [2, ["5.weight", "5.bias"], True]


def checkpoints(torch, spread, folder):
    """The dict of everything, and training that goes on from it as if never interrupted."""
    path = folder / "checkpoint.pth.tar"
    x, y = batch(torch)

    def setup():
        net = small_net(torch, spread)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        return net, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)

    def epochs(net, optimizer, scheduler, n):
        for _ in range(n):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
        return loss

    net, optimizer, scheduler = setup()
    loss = epochs(net, optimizer, scheduler, 3)
    torch.save(
        {"epoch": 3, "arch": "small", "state_dict": net.state_dict(), "best_acc1": 0.5,
         "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "loss": loss},
        path,
    )  # fmt: skip
    straight = epochs(net, optimizer, scheduler, 2).item()

    net, optimizer, scheduler = setup()
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    net.load_state_dict(checkpoint["state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    resumed = epochs(net, optimizer, scheduler, 2).item()
    shown = [checkpoint["epoch"], checkpoint["arch"], checkpoint["loss"].item(), straight, resumed]

    part = {k: v for k, v in checkpoint["state_dict"].items() if not k.startswith("5.")}
    report = net.load_state_dict(part, strict=False)
    shown += [report.missing_keys, report.unexpected_keys]
    own = net.state_dict()
    own.update(part)
    net.load_state_dict(own)
    try:
        net.load_state_dict(part)
    except RuntimeError as error:
        shown.append(str(error))
    for name, tensor in net.state_dict().items():
        shown.append(f"{name}\t{list(tensor.size())}")
    torch.save(net[0].weight.data, folder / "x-file")
    torch.save([x, y], folder / "x-files")
    again = torch.load(folder / "x-files")
    shown += [torch.load(folder / "x-file"), again[1]]
    return shown


def test_checkpoints(both, spread, tmp_path):
    shown = both(checkpoints, spread, tmp_path, rtol=1e-4)
    assert shown[3] == shown[4]
    assert shown[5] == ["5.weight", "5.bias"]
    assert shown[7].startswith("Error(s) in loading state_dict for Sequential:\n\tMissing key(s)")


def hooks(torch, spread):
    """Features by hooks, as visualisation tutorials take them, and Grad-CAM's two pieces."""
    net = small_net(torch, spread)
    x, _ = batch(torch)
    activation, gradients, shapes = {}, [], []

    def get_activation(name):
        def hook(model, input, output):
            activation[name] = output.detach()

        return hook

    handles = [net[0].register_forward_hook(get_activation("conv"))]
    handles.append(net[2].register_full_backward_hook(lambda m, gi, go: gradients.append(go[0])))
    handles += [m.register_forward_hook(
        lambda m, i, o: shapes.append((m.__class__.__name__, tuple(i[0].shape), tuple(o.shape))))
        for m in net.children()]  # fmt: skip
    output = net(x)
    one_hot = torch.zeros_like(output)
    one_hot[0, output[0].argmax()] = 1
    output.backward(gradient=one_hot, retain_graph=True)
    weights = torch.mean(gradients[0], dim=[0, 2, 3])
    maps = activation["conv"].clone()
    for i in range(maps.shape[1]):
        maps[:, i, :, :] *= weights[i]
    heatmap = torch.mean(maps, dim=1)[0].clamp(min=0)
    for handle in handles:
        handle.remove()
    net(x)
    double = net[5].register_forward_hook(lambda module, inputs, out: out * 2)
    doubled = net(x)
    double.remove()
    features = torch.nn.Sequential(*list(net.children())[:-1])(x)
    return [shapes, activation["conv"], heatmap, len(gradients), doubled, features]


def test_hooks(both, spread):
    shown = both(hooks, spread, rtol=1e-4)
    assert len(shown[0]) == 6
    assert shown[3] == 1


def own_data_sets(torch):
    data = torch.utils.data

    class Squares(data.Dataset):
        def __init__(self, n, transform=None):
            self.n, self.transform = n, transform

        def __len__(self):
            return self.n

        def __getitem__(self, idx):
            if torch.is_tensor(idx):
                idx = idx.tolist()
            sample = {"image": np.full((2, 2), idx, np.float32), "label": idx**2}
            return self.transform(sample) if self.transform else sample

    class ToTensor:
        def __call__(self, sample):
            image = torch.from_numpy(sample["image"]).unsqueeze(0)
            return {"image": image, "label": torch.tensor(sample["label"])}

    def collate(samples):
        images = [s["image"] for s in samples]
        return torch.stack(images, 0), torch.LongTensor([int(s["label"]) for s in samples])

    shown = []
    for i_batch, sample in enumerate(data.DataLoader(Squares(5, ToTensor()), batch_size=2)):
        shown += [i_batch, sample["image"].size(0), sample["label"]]
    plain = next(iter(data.DataLoader(Squares(3), batch_size=3)))
    shown += [plain["image"], plain["label"], sorted(plain)]
    loader = data.DataLoader(Squares(5, ToTensor()), 2, collate_fn=collate, drop_last=True)
    shown += [len(loader), *list(loader)[-1]]
    train, valid = data.random_split(
        Squares(10), [8, 2], generator=torch.Generator().manual_seed(42)
    )
    shown += [len(train), len(valid), sorted([*train.indices, *valid.indices])]
    half = data.Subset(Squares(10), range(5))
    shown += [len(half), half[4]["label"], len(data.ConcatDataset([half, half]))]
    shuffled = data.DataLoader(Squares(7, ToTensor()), batch_size=3, shuffle=True)
    for _ in range(2):
        labels = torch.cat([b["label"] for b in shuffled])
        shown += [labels.sort()[0], len(shuffled)]
    sampler = data.SubsetRandomSampler([1, 3])
    picked = [b["label"].item() for b in data.DataLoader(Squares(7, ToTensor()), sampler=sampler)]
    tensors = data.TensorDataset(torch.arange(4.0), torch.arange(4))
    return [*shown, sorted(picked), tensors[1:3], tensors.tensors[0], *next(iter(data.DataLoader(
        tensors, batch_size=4)))]  # fmt: skip


def test_own_data_sets(both):
    assert both(own_data_sets)[2].tolist() == [0, 1]


def fgsm_attack(torch, spread):
    """A gradient with respect to the input, and its sign."""
    net = small_net(torch, spread).eval()
    data, target = batch(torch)
    data.requires_grad = True
    output = net(data)
    init_pred = output.max(1, keepdim=True)[1]
    loss = torch.nn.functional.nll_loss(torch.log_softmax(output, dim=1), target)
    net.zero_grad()
    loss.backward()
    data_grad = data.grad.data
    perturbed = torch.clamp(data + 0.25 * data_grad.sign(), 0, 1)
    final_pred = net(perturbed).max(1, keepdim=True)[1]
    return init_pred, perturbed, [p.item() for p in final_pred], data_grad.abs().sum()


def test_fgsm_attack(both, spread):
    perturbed = both(fgsm_attack, spread, rtol=1e-4)[1]
    assert perturbed.max().item() <= 1


def gradient_accumulation(torch, spread):
    """Four micro-batches, one step: the same as one batch (with batch norm in eval mode)."""
    x, y = batch(torch)
    whole, parts = small_net(torch, spread).eval(), small_net(torch, spread).eval()
    criterion = torch.nn.CrossEntropyLoss()
    steps = []
    for net, pieces in ((whole, 1), (parts, 3)):
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.1)
        optimizer.zero_grad(set_to_none=True)
        for xb, yb in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
            (criterion(net(xb), yb) / pieces).backward()
        steps.append(net[5].weight.grad.clone())
        optimizer.step()
    return [*steps, whole[5].weight]


def test_gradient_accumulation(both, spread):
    whole, parts, _ = both(gradient_accumulation, spread, rtol=1e-4)
    np.testing.assert_allclose(whole.numpy(), parts.numpy(), rtol=1e-4, atol=1e-6)


def averaged_weights(torch, spread):
    """An exponential moving average over a deep copy, and distances through state_dict."""
    net = small_net(torch, spread)
    ema = copy.deepcopy(net)
    for p in ema.parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = batch(torch)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y, label_smoothing=0.1).backward()
        optimizer.step()
        with torch.no_grad():
            for e, p in zip(ema.parameters(), net.parameters(), strict=True):
                e.mul_(0.9).add_(p.data, alpha=0.1)
            for e, p in zip(ema.buffers(), net.buffers(), strict=True):
                e.copy_(p)
    a, b = ema.state_dict(), net.state_dict()
    return {k: (a[k].float() - b[k].float()).abs().sum().item() for k in a}


def test_averaged_weights(both, spread):
    distances = both(averaged_weights, spread, rtol=1e-3)
    assert distances["1.running_mean"] == 0 < distances["0.weight"]
