"""Whole training programs: the MNIST example, CIFAR-style, from scratch, quickstart."""

from __future__ import annotations

import struct

import numpy as np
import pytest

import minicnn
from minicnn import datasets, transforms


@pytest.fixture(scope="module")
def digits():
    """Arrays: 200 images (200, 1, 28, 28), float32 in [0, 1], and their labels."""
    data = datasets.Digits(train=True)
    rows = slice(0, 200)
    images = data.data.numpy()[rows].repeat(3, axis=1).repeat(3, axis=2)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return (images[:, None] / 255).astype(np.float32), data.targets.numpy()[rows]


def mnist_example(torch, spread, digits, path):
    """The classical example: Net, train(), test(), StepLR, the weights saved at the end."""
    nn, F, optim = torch.nn, torch.nn.functional, torch.optim

    class Net(nn.Module):
        def __init__(self):
            super(Net, self).__init__()  # noqa: UP008
            self.conv1 = nn.Conv2d(1, 8, 3, 1)
            self.conv2 = nn.Conv2d(8, 16, 3, 1)
            self.dropout1 = nn.Dropout(0.0)
            self.dropout2 = nn.Dropout(0.0)
            self.fc1 = nn.Linear(2304, 32)
            self.fc2 = nn.Linear(32, 10)

        def forward(self, x):
            x = F.relu(self.conv1(x))
            x = F.relu(self.conv2(x))
            x = F.max_pool2d(x, 2)
            x = self.dropout1(x)
            x = torch.flatten(x, 1)
            x = F.relu(self.fc1(x))
            x = self.dropout2(x)
            return F.log_softmax(self.fc2(x), dim=1)

    lines = []

    def train(model, device, train_loader, optimizer, epoch):
        model.train()
        for batch_idx, (data, target) in enumerate(train_loader):
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            output = model(data)
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()
            if batch_idx % 2 == 0:
                done = 100.0 * batch_idx / len(train_loader)
                lines.append(
                    f"Epoch {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)} "
                    f"({done:.0f}%)]\tLoss: {loss.item():.3f}"
                )

    def test(model, device, test_loader):
        model.eval()
        test_loss = 0
        correct = 0
        with torch.no_grad():
            for data, target in test_loader:
                data, target = data.to(device), target.to(device)
                output = model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()
        test_loss /= len(test_loader.dataset)
        return test_loss, correct

    torch.manual_seed(1)
    use_accel = torch.accelerator.is_available() and torch.cuda.is_available()
    device = torch.accelerator.current_accelerator() if use_accel else torch.device("cpu")
    images, labels = (torch.from_numpy(a) for a in digits)
    images = (images - 0.1307) / 0.3081
    dataset = torch.utils.data.TensorDataset(images, labels)
    kwargs = {"batch_size": 40, "num_workers": 0, "pin_memory": False}
    train_loader = torch.utils.data.DataLoader(dataset, shuffle=False, **kwargs)
    test_loader = torch.utils.data.DataLoader(dataset, batch_size=100)
    model = spread(torch, Net()).to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    results = []
    for epoch in range(1, 4):
        train(model, device, train_loader, optimizer, epoch)
        results.append(test(model, device, test_loader))
        scheduler.step()
    results.append(scheduler.get_last_lr()[0])
    torch.save(model.state_dict(), path)
    again = Net()
    lines.append(str(again.load_state_dict(torch.load(path))))
    results.append(test(again, device, test_loader)[0])
    return lines, results, model.fc2.weight


@pytest.mark.slow
def test_mnist_example(both, spread, digits, tmp_path):
    lines, results, _ = both(mnist_example, spread, digits, tmp_path / "mnist_cnn.pt", rtol=2e-4)
    assert lines[-1] == "<All keys matched successfully>"
    assert results[2][0] < results[0][0]
    assert results[-1] == results[2][0]


def cifar_style(torch, spread, digits):
    """The running loss, and the accuracy of each class, as first tutorials print them."""
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(16 * 4 * 4, 40)
            self.fc2 = nn.Linear(40, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = x.view(-1, self.num_flat_features(x))
            return self.fc2(F.relu(self.fc1(x)))

        def num_flat_features(self, x):
            num_features = 1
            for s in x.size()[1:]:
                num_features *= s
            return num_features

    net = spread(torch, Net())
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    images, labels = digits
    trainloader = [(torch.tensor(images[i : i + 20]), torch.tensor(labels[i : i + 20]))
                   for i in range(0, 200, 20)]  # fmt: skip
    lines = [str(net)]
    for epoch in range(2):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, targets = data
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if i % 5 == 4:
                lines.append(f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 5:.2f}")
                running_loss = 0.0

    class_correct = [0.0 for _ in range(10)]
    class_total = [0.0 for _ in range(10)]
    with torch.no_grad():
        for data in trainloader:
            inputs, targets = data
            _, predicted = torch.max(net(inputs), 1)
            c = (predicted == targets).squeeze()
            for i in range(len(targets)):
                label = targets[i]
                class_correct[label] += c[i].item()
                class_total[label] += 1
    lines += ["Accuracy of %d : %2d %%" % (k, 100 * class_correct[k] / class_total[k])  # noqa: UP031
              for k in range(10)]  # fmt: skip
    return lines, sum(class_correct), net.conv1.weight.grad.norm()


@pytest.mark.slow
def test_cifar_style(both, spread, digits):
    lines, correct, _ = both(cifar_style, spread, digits, rtol=2e-3)
    assert lines[0].startswith("Net(\n  (conv1): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))")
    assert correct > 60


def softmax_regression_from_scratch(torch, digits):
    """Everything by hand, as books do: the model, the loss, the step, the accumulator."""

    class Accumulator:
        def __init__(self, n):
            self.data = [0.0] * n

        def add(self, *args):
            self.data = [a + float(b) for a, b in zip(self.data, args, strict=True)]

        def __getitem__(self, idx):
            return self.data[idx]

    def softmax(X):
        X_exp = torch.exp(X)
        partition = X_exp.sum(1, keepdim=True)
        return X_exp / partition

    def net(X):
        return softmax(torch.matmul(X.reshape((-1, W.shape[0])), W) + b)

    def cross_entropy(y_hat, y):
        return -torch.log(y_hat[range(len(y_hat)), y])

    def accuracy(y_hat, y):
        if len(y_hat.shape) > 1 and y_hat.shape[1] > 1:
            y_hat = y_hat.argmax(axis=1)
        cmp = y_hat.type(y.dtype) == y
        return float(cmp.type(y.dtype).sum())

    def sgd(params, lr, batch_size):
        with torch.no_grad():
            for param in params:
                param -= lr * param.grad / batch_size
                param.grad.zero_()

    W = torch.zeros((784, 10), requires_grad=True)
    b = torch.zeros(10, requires_grad=True)
    features, labels = (torch.tensor(a) for a in digits)
    history = []
    for _ in range(4):
        metric = Accumulator(3)
        for i in range(0, len(features), 50):
            X, y = features[i : i + 50], labels[i : i + 50]
            y_hat = net(X)
            l = cross_entropy(y_hat, y)  # noqa: E741
            l.sum().backward()
            sgd([W, b], 0.1, X.shape[0])
            metric.add(float(l.sum()), accuracy(y_hat, y), y.numel())
        history.append((metric[0] / metric[2], metric[1] / metric[2]))
    return history, W, b


def test_softmax_regression_from_scratch(both, digits):
    history, _, _ = both(softmax_regression_from_scratch, digits, rtol=1e-4)
    assert history[0][0] > history[-1][0]
    assert history[-1][1] > 0.7


def linear_regression(torch):
    """Synthetic data, a random minibatch iterator, then the same with layers and a loader."""
    true_w, true_b = torch.tensor([2.0, -3.4]), 4.2
    X = torch.cos(torch.arange(400.0) ** 1.5).reshape(200, 2)
    y = torch.matmul(X, true_w) + true_b
    y = y.reshape((-1, 1))

    w = torch.zeros((2, 1), requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(3):
        for i in range(0, 200, 10):
            indices = torch.tensor(list(range(i, min(i + 10, 200))))
            loss = (torch.matmul(X[indices], w) + b - y[indices].reshape((-1, 1))) ** 2 / 2
            loss.mean().backward()
            with torch.no_grad():
                for p in (w, b):
                    p -= 0.3 * p.grad
                    p.grad.zero_()
    close = (true_w - w.reshape(true_w.shape)).abs().max().item() < 1e-3

    dataset = torch.utils.data.TensorDataset(*(X, y))
    data_iter = torch.utils.data.DataLoader(dataset, 10, shuffle=False)
    net = torch.nn.Sequential(torch.nn.Linear(2, 1))
    net[0].weight.data.fill_(0)
    net[0].bias.data.fill_(0)
    trainer = torch.optim.SGD(net.parameters(), lr=0.15)
    loss = torch.nn.MSELoss()
    for _ in range(3):
        for batch, target in data_iter:
            l = loss(net(batch), target)  # noqa: E741
            trainer.zero_grad()
            l.backward()
            trainer.step()
    first = next(iter(data_iter))
    return close, w, b, net[0].weight.data, net[0].bias.data, first, len(data_iter)


def test_linear_regression(both):
    close, w, _, w_again, *_, n = both(linear_regression, rtol=1e-4)
    assert close
    assert n == 20
    np.testing.assert_allclose(w.detach().numpy().ravel(), w_again.numpy().ravel(), rtol=1e-3)


def quickstart(torch, spread, digits, path):
    """Loops as functions, `size = len(dataloader.dataset)`, X's and y's, classes at the end."""
    nn = torch.nn

    class NeuralNetwork(nn.Module):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()
            self.linear_relu_stack = nn.Sequential(
                nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
            )

        def forward(self, x):
            x = self.flatten(x)
            logits = self.linear_relu_stack(x)
            return logits

    def train_loop(dataloader, model, loss_fn, optimizer):
        size = len(dataloader.dataset)
        model.train()
        for batch, (X, y) in enumerate(dataloader):
            loss = loss_fn(model(X), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if batch % 2 == 0:
                loss, current = loss.item(), (batch + 1) * len(X)
                lines.append(f"loss: {loss:>5.2f}  [{current:>5d}/{size:>5d}]")

    def test_loop(dataloader, model, loss_fn):
        model.eval()
        size, num_batches = len(dataloader.dataset), len(dataloader)
        test_loss, correct = 0, 0
        with torch.no_grad():
            for X, y in dataloader:
                pred = model(X)
                test_loss += loss_fn(pred, y).item()
                correct += (pred.argmax(1) == y).type(torch.float).sum().item()
        lines.append(
            f"Accuracy: {100 * correct / size:>0.1f}%, Avg loss: {test_loss / num_batches:.2f}"
        )

    lines = []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lines.append("mps" if torch.backends.mps.is_available() and device == "cuda" else device)
    model = spread(torch, NeuralNetwork()).to("cpu")
    lines.append(str(model))
    dataset = torch.utils.data.TensorDataset(*(torch.tensor(a) for a in digits))
    loader = torch.utils.data.DataLoader(dataset, batch_size=64)
    for X, y in loader:
        lines.append(f"{list(X.shape)} {list(y.shape)} {X.shape[0]}")
        break
    loss_fn, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        train_loop(loader, model, loss_fn, optimizer)
        test_loop(loader, model, loss_fn)
    torch.save(model.state_dict(), path)
    model = NeuralNetwork()
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    with torch.no_grad():
        x, y = dataset[0][0], dataset[0][1]
        pred = model(x.unsqueeze(0))
        lines.append(f"Predicted {pred[0].argmax(0)}, Actual {y}")
    return lines


def test_quickstart(both, spread, digits, tmp_path):
    both(quickstart, spread, digits, tmp_path / "model.pth")


def write_mnist(folder):
    """Digits in MNIST's files: 120 images to train, 40 to test."""
    folder.mkdir(parents=True)
    for name, train, n in (("train", True, 120), ("t10k", False, 40)):
        data = datasets.Digits(train=train)
        images = np.pad(data.data.numpy()[:n].repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        header = struct.pack(">IIII", 0x803, n, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = data.targets.numpy()[:n].astype(np.uint8)
        header = struct.pack(">II", 0x801, n)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


@pytest.mark.filterwarnings("ignore:DataLoader. pin_memory")  # where there is no GPU
def test_mnist_from_files(tmp_path):
    """datasets, transforms and loaders as torchvision's; PyTorch alone does not have them."""
    torch = minicnn
    write_mnist(tmp_path / "MNIST" / "raw")
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    train_set = datasets.MNIST(str(tmp_path), train=True, download=True, transform=transform)
    test_set = datasets.MNIST(root=str(tmp_path), train=False, transform=transforms.ToTensor())
    kwargs = {"num_workers": 1, "pin_memory": True, "persistent_workers": True}
    train_loader = torch.utils.data.DataLoader(train_set, batch_size=32, shuffle=True, **kwargs)
    test_loader = torch.utils.data.DataLoader(test_set, batch_size=1000, shuffle=False)
    assert (len(train_set), len(train_loader), len(train_loader.dataset)) == (120, 4, 120)

    img, label = train_set[0]
    assert (tuple(img.shape), type(label), img.dtype) == ((1, 28, 28), int, torch.float32)
    raw = train_set.data[0].float().div(255)
    np.testing.assert_allclose(img[0].numpy(), (raw.numpy() - 0.1307) / 0.3081, rtol=1e-5)
    assert "Number of datapoints: 120" in repr(train_set)

    examples = enumerate(test_loader)
    _, (example_data, example_targets) = next(examples)
    assert example_data.shape == (40, 1, 28, 28)
    assert (example_data.min().item(), example_data.max().item()) == (0, 1)
    assert test_set.targets[:5].tolist() == example_targets[:5].tolist()
    seen = torch.cat([target for _, target in train_loader])
    assert torch.equal(seen.sort()[0], train_set.targets.sort().values)

    images, _ = next(iter(train_loader))
    assert np.transpose(images[0].numpy(), (1, 2, 0)).shape == (28, 28, 1)
    model = torch.models.lenet()
    assert model(images).shape == (32, 10)


def test_mean_and_std_of_a_data_set():
    """As tutorials find the numbers for Normalize."""
    data = datasets.Digits(train=True, transform=transforms.ToTensor())
    loader = minicnn.utils.data.DataLoader(data, batch_size=256)
    mean, square, n = 0.0, 0.0, 0
    for images, _ in loader:
        images = images.view(images.size(0), images.size(1), -1)
        mean += images.mean(2).sum(0)
        square += (images**2).mean(2).sum(0)
        n += images.size(0)
    std = (square / n - (mean / n) ** 2).sqrt()
    stacked = minicnn.stack([image for image, _ in data])
    np.testing.assert_allclose((mean / n).numpy(), stacked.mean(dim=(0, 2, 3)).numpy(), rtol=1e-4)
    assert abs(std.item() - stacked.std().item()) < 1e-4


def test_a_batch_is_shown_and_saved_as_a_grid(tmp_path):
    """With the names of torchvision, which is `import minicnn as torchvision`."""
    pytest.importorskip("PIL")
    torchvision = minicnn
    transform = torchvision.transforms.Compose([
        torchvision.transforms.RandomRotation(10),
        torchvision.transforms.RandomAffine(0, translate=(0.1, 0.1), shear=5),
        torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize((0.5,), (0.5,)),
    ])  # fmt: skip
    data = torchvision.datasets.Digits(transform=transform)
    dataiter = iter(minicnn.utils.data.DataLoader(data, batch_size=4, shuffle=True))
    images, _ = next(dataiter)
    img = torchvision.utils.make_grid(images)
    img = img / 2 + 0.5  # unnormalize
    npimg = img.numpy()
    shown = np.transpose(npimg, (1, 2, 0))
    H, W = images.shape[2:]
    assert shown.shape == (H + 4, 4 * (W + 2) + 2, 3)
    assert shown.min() == 0 and (shown[0] == 0.5).all()
    torchvision.utils.save_image(images, tmp_path / "batch.png", normalize=True)
    pixels = np.asarray(torchvision.datasets.folder.pil_loader(tmp_path / "batch.png"))
    assert pixels.shape == shown.shape and pixels.max() == 255
