"""Chapters on layers and networks: own layers, blocks, containers, initialisation, printing."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np


def convolution_by_hand(torch):
    """Cross-correlation and pooling in loops, an edge detector, and a kernel that is learnt."""
    nn = torch.nn

    def corr2d(X, K):
        h, w = K.shape
        Y = torch.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1))
        for i in range(Y.shape[0]):
            for j in range(Y.shape[1]):
                Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
        return Y

    def pool2d(X, pool_size, mode="max"):
        p_h, p_w = pool_size
        Y = torch.zeros((X.shape[0] - p_h + 1, X.shape[1] - p_w + 1))
        for i in range(Y.shape[0]):
            for j in range(Y.shape[1]):
                window = X[i : i + p_h, j : j + p_w]
                Y[i, j] = window.max() if mode == "max" else window.mean()
        return Y

    def corr2d_multi_in(X, K):
        return sum(corr2d(x, k) for x, k in zip(X, K, strict=True))

    class MyConv2D(nn.Module):
        def __init__(self, kernel_size):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(kernel_size))
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return corr2d(x, self.weight) + self.bias

    X = torch.ones((6, 8))
    X[:, 2:6] = 0
    K = torch.tensor([[1.0, -1.0]])
    Y = corr2d(X, K)
    shown = [Y, corr2d(X.t(), K), pool2d(X, (2, 2)), pool2d(X, (2, 3), "avg")]
    shown.append(torch.nn.functional.conv2d(X[None, None], K[None, None])[0, 0] - Y)

    conv2d = nn.Conv2d(1, 1, kernel_size=(1, 2), bias=False)
    conv2d.weight.data.fill_(0.1)
    X, Y = X.reshape((1, 1, 6, 8)), Y.reshape((1, 1, 6, 7))
    for _ in range(10):
        Y_hat = conv2d(X)
        l = (Y_hat - Y) ** 2  # noqa: E741
        conv2d.zero_grad()
        l.sum().backward()
        conv2d.weight.data[:] -= 3e-2 * conv2d.weight.grad
    shown += [l.sum() < 1, conv2d.weight.data.reshape((1, 2))]

    X = torch.arange(18.0).reshape(2, 3, 3)
    K = torch.stack([torch.arange(4.0).reshape(2, 2), torch.arange(1.0, 5).reshape(2, 2)])
    filters = torch.stack((K, K + 1, K + 2), 0)
    many = torch.stack([corr2d_multi_in(X, k) for k in filters], 0)
    shown += [many, torch.nn.functional.conv2d(X.unsqueeze(0), filters).squeeze(0) - many]

    own = MyConv2D((2, 2))
    with torch.no_grad():
        own.weight.copy_(torch.tensor([[1.0, 2], [3, 4]]))
    own(X[0]).sum().backward()
    shown += [own.weight.grad, own.bias.grad, [name for name, _ in own.named_parameters()]]
    layers = [
        nn.Conv2d(1, 1, 3, padding=1),
        nn.Conv2d(1, 1, (5, 3), padding=(2, 1)),
        nn.Conv2d(1, 1, 3, padding=1, stride=2),
        nn.Conv2d(1, 1, (3, 5), padding=(0, 1), stride=(3, 4)),
        nn.MaxPool2d(3),
        nn.MaxPool2d((2, 3), stride=(2, 3), padding=(0, 1)),
    ]
    for layer in layers:
        shown.append(tuple(layer(torch.ones(8, 8).reshape((1, 1, 8, 8))).shape[2:]))
    return shown


def test_convolution_by_hand(both):
    shown = both(convolution_by_hand, rtol=1e-4)
    assert shown[4].abs().max().item() == 0
    assert shown[-6:] == [(8, 8), (8, 8), (4, 4), (2, 2), (2, 2), (4, 3)]


def batch_norm_by_hand(torch):
    """The layer as books write it, beside nn.BatchNorm2d and F.batch_norm."""
    nn = torch.nn

    def batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum):
        if not torch.is_grad_enabled():
            X_hat = (X - moving_mean) / torch.sqrt(moving_var + eps)
        else:
            assert len(X.shape) in (2, 4)
            if len(X.shape) == 2:
                mean = X.mean(dim=0)
                var = ((X - mean) ** 2).mean(dim=0)
            else:
                mean = X.mean(dim=(0, 2, 3), keepdim=True)
                var = ((X - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
            X_hat = (X - mean) / torch.sqrt(var + eps)
            moving_mean = (1.0 - momentum) * moving_mean + momentum * mean
            moving_var = (1.0 - momentum) * moving_var + momentum * var
        return gamma * X_hat + beta, moving_mean.data, moving_var.data

    class BatchNorm(nn.Module):
        def __init__(self, num_features, num_dims):
            super().__init__()
            shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)
            self.gamma = nn.Parameter(torch.ones(shape))
            self.beta = nn.Parameter(torch.zeros(shape))
            self.register_buffer("moving_mean", torch.zeros(shape))
            self.moving_var = torch.ones(shape)

        def forward(self, X):
            if self.moving_mean.device != X.device:
                self.moving_mean = self.moving_mean.to(X.device)
            Y, self.moving_mean, self.moving_var = batch_norm(
                X, self.gamma, self.beta, self.moving_mean, self.moving_var, eps=1e-5, momentum=0.1
            )
            return Y

    X = torch.sin(torch.arange(96.0)).view(4, 3, 2, 4) * 2 + 1
    X.requires_grad_(True)
    shown = []
    for layer in (BatchNorm(3, 4), nn.BatchNorm2d(3)):
        X.grad = None
        Y = layer(X)
        (Y * torch.arange(4.0)).sum().backward()
        with torch.no_grad():
            layer.eval()
            unseen = layer(X * 2)
        shown += [Y, X.grad, unseen]
        shown += list(layer.state_dict())
    shown.append(layer.running_mean)
    shown.append(int(layer.num_batches_tracked))
    return shown


def test_batch_norm_by_hand(both):
    shown = both(batch_norm_by_hand, rtol=1e-4)
    np.testing.assert_allclose(
        shown[0].detach().numpy(), shown[6].detach().numpy(), rtol=1e-4, atol=1e-5
    )
    assert shown[3:6] == ["gamma", "beta", "moving_mean"]


def residual_network(torch, spread):
    nn, F = torch.nn, torch.nn.functional

    def conv3x3(in_planes, out_planes, stride=1):
        return nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)

    class BasicBlock(nn.Module):
        expansion = 1

        def __init__(self, inplanes, planes, stride=1, downsample=None):
            super(BasicBlock, self).__init__()  # noqa: UP008
            self.conv1 = conv3x3(inplanes, planes, stride)
            self.bn1 = nn.BatchNorm2d(planes)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = conv3x3(planes, planes)
            self.bn2 = nn.BatchNorm2d(planes)
            self.downsample = downsample
            self.stride = stride

        def forward(self, x):
            residual = x
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            if self.downsample is not None:
                residual = self.downsample(x)
            out += residual
            return self.relu(out)

    class ResNet(nn.Module):
        def __init__(self, block, layers, num_classes=10):
            self.inplanes = 4
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, kernel_size=7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
            self.layer1 = self._make_layer(block, 4, layers[0])
            self.layer2 = self._make_layer(block, 8, layers[1], stride=2)
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(8 * block.expansion, num_classes)
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    n = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
                    m.weight.data.normal_(0, math.sqrt(2.0 / n))
                elif isinstance(m, nn.BatchNorm2d):
                    m.weight.data.fill_(1)
                    m.bias.data.zero_()

        def _make_layer(self, block, planes, blocks, stride=1):
            downsample = None
            if stride != 1 or self.inplanes != planes * block.expansion:
                downsample = nn.Sequential(
                    nn.Conv2d(self.inplanes, planes * block.expansion, kernel_size=1,
                              stride=stride, bias=False),
                    nn.BatchNorm2d(planes * block.expansion),
                )  # fmt: skip
            layers = [block(self.inplanes, planes, stride, downsample)]
            self.inplanes = planes * block.expansion
            for _ in range(1, blocks):
                layers.append(block(self.inplanes, planes))
            return nn.Sequential(*layers)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)), inplace=True)
            x = self.layer2(self.layer1(self.maxpool(x)))
            x = self.avgpool(x)
            return self.fc(torch.flatten(x, 1))

    net = ResNet(BasicBlock, [1, 2])
    shown = [str(net), sum(p.numel() for p in net.parameters()), list(net.state_dict().keys())]
    spread(torch, net)
    x = torch.cos(torch.arange(2.0 * 3 * 32 * 32)).view(2, 3, 32, 32)
    loss = F.cross_entropy(net(x), torch.tensor([3, 7]))
    loss.backward()
    shown += [loss.item(), net.conv1.weight.grad, net.layer2[0].downsample[0].weight.grad]
    net.eval()
    with torch.no_grad():
        shown.append(net(x))
    return shown


def test_residual_network(both, spread):
    shown = both(residual_network, spread, rtol=1e-3)
    assert "layer2.0.downsample.1.running_var" in shown[2]


def blocks_from_lists(torch, spread):
    """VGG's blocks from a list, inception's branches, densenet's concatenation, NiN's head."""
    nn, F = torch.nn, torch.nn.functional

    def vgg_block(num_convs, in_channels, out_channels):
        layers = []
        for _ in range(num_convs):
            layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
            layers.append(nn.ReLU())
            in_channels = out_channels
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        return nn.Sequential(*layers)

    class Inception(nn.Module):
        def __init__(self, in_channels, c1, c2, c3, c4, **kwargs):
            super().__init__(**kwargs)
            self.p1_1 = nn.Conv2d(in_channels, c1, kernel_size=1)
            self.p2_1 = nn.Conv2d(in_channels, c2[0], kernel_size=1)
            self.p2_2 = nn.Conv2d(c2[0], c2[1], kernel_size=3, padding=1)
            self.p3_1 = nn.Conv2d(in_channels, c3[0], kernel_size=1)
            self.p3_2 = nn.Conv2d(c3[0], c3[1], kernel_size=5, padding=2)
            self.p4_1 = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
            self.p4_2 = nn.Conv2d(in_channels, c4, kernel_size=1)

        def forward(self, x):
            p1 = F.relu(self.p1_1(x))
            p2 = F.relu(self.p2_2(F.relu(self.p2_1(x))))
            p3 = F.relu(self.p3_2(F.relu(self.p3_1(x))))
            p4 = F.relu(self.p4_2(self.p4_1(x)))
            return torch.cat((p1, p2, p3, p4), dim=1)

    class DenseBlock(nn.Module):
        def __init__(self, num_convs, input_channels, num_channels):
            super().__init__()
            self.net = nn.ModuleList()
            for i in range(num_convs):
                channels = num_channels * i + input_channels
                layers = OrderedDict()
                layers["norm"] = nn.BatchNorm2d(channels)
                layers["relu"] = nn.ReLU()
                layers["conv"] = nn.Conv2d(channels, num_channels, kernel_size=3, padding=1)
                self.net.append(nn.Sequential(layers))

        def forward(self, X):
            for blk in self.net:
                Y = blk(X)
                X = torch.cat((X, Y), dim=1)
            return X

    conv_arch, in_channels = ((1, 2), (2, 3)), 1
    stages = []
    for num_convs, out_channels in conv_arch:
        stages.append(vgg_block(num_convs, in_channels, out_channels))
        in_channels = out_channels
    net = nn.Sequential(
        *stages,
        Inception(3, 1, (2, 2), (1, 2), 1),
        DenseBlock(2, 6, 2),
        nn.Conv2d(10, 4, 1, groups=2), nn.LeakyReLU(0.1),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Softmax(dim=1),
    )  # fmt: skip
    spread(torch, net)
    X = torch.sin(torch.arange(2.0 * 16 * 16)).reshape(2, 1, 16, 16)
    shown = []
    Y = X
    for layer in net:
        Y = layer(Y)
        shown.append((layer.__class__.__name__, "output shape:", tuple(Y.shape)))
    Y[:, 0].sum().backward()
    return [*shown, Y, net[0][0].weight.grad, net[3].net[1].conv.weight.grad, str(net[3])]


def test_blocks_from_lists(both, spread):
    shown = both(blocks_from_lists, spread, rtol=1e-3)
    assert shown[3] == ("DenseBlock", "output shape:", (2, 10, 4, 4))


def parameter_management(torch):
    """Access to parameters, tied layers, own initialisation by apply, own layers."""
    nn, init = torch.nn, torch.nn.init
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    shown = [type(net[2].bias).__name__, net[2].weight.grad is None, len(net)]
    shown += [[(name, tuple(param.shape)) for name, param in net.named_parameters()]]
    shown += [[name for name, _ in net.named_modules()], [type(m).__name__ for m in net.children()]]

    def init_constant(m):
        if type(m) is nn.Linear:
            init.constant_(m.weight, 0.5)
            init.zeros_(m.bias)

    net.apply(init_constant)
    shown += [net[0].weight.data[0].clone(), net[0].bias.data[0].item(), net(torch.ones(2, 4))]

    def weights_init(m):
        classname = m.__class__.__name__
        if classname.find("Conv") != -1:
            m.weight.data.normal_(0.0, 0.02)
        elif classname.find("Linear") != -1:
            init.xavier_uniform_(m.weight.data, gain=init.calculate_gain("relu"))
            m.bias.data.fill_(0.01)

    net.apply(weights_init)
    bound = math.sqrt(2) * math.sqrt(6 / 12)
    shown += [bool((net[0].weight.abs() <= bound).all()), net[0].bias]
    for p in net.parameters():
        if p.dim() > 1:
            init.kaiming_normal_(p, mode="fan_out", nonlinearity="relu")

    shared = nn.Linear(8, 8)
    with torch.no_grad():
        shared.weight.copy_(torch.eye(8) * 2)
        shared.bias.zero_()
    tied = nn.Sequential(shared, nn.ReLU(), shared)
    x = torch.ones(1, 8, requires_grad=True)
    tied(x).sum().backward()
    shown += [x.grad, shared.weight.grad, len(list(tied.parameters())), list(tied.state_dict())]

    class CenteredLayer(nn.Module):
        def forward(self, X):
            return X - X.mean()

    class MyLinear(nn.Module):
        def __init__(self, in_units, units):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(in_units, units))
            self.bias = nn.Parameter(torch.zeros(units,))  # fmt: skip

        def forward(self, X):
            linear = torch.matmul(X, self.weight.data) + self.bias.data
            return torch.relu(linear)

    class FixedHidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.rand_weight = torch.ones((4, 4)) * 0.3
            self.linear = nn.Linear(4, 4)

        def forward(self, X):
            X = torch.relu(X @ self.rand_weight + 1)
            while X.abs().sum() > 1:
                X /= 2
            return X.sum()

    shown += [CenteredLayer()(torch.FloatTensor([1, 2, 3, 4, 5])), MyLinear(4, 2)(torch.ones(1, 4))]
    shown += [FixedHidden()(torch.ones(2, 4)), sorted(FixedHidden().state_dict())]
    mixed = nn.Sequential(CenteredLayer(), MyLinear(2, 3))
    mixed.add_module("last", nn.Dropout(p=0.25))
    shown += [str(mixed), repr(nn.ModuleList([nn.Tanh(), nn.Sigmoid()])), str(mixed.last)]
    deeper = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Identity())
    shown += [str(deeper), deeper[0][0].weight.shape == (2, 2), sum(1 for _ in deeper.modules())]
    return shown


def test_parameter_management(both):
    shown = both(parameter_management)
    assert shown[0] == "Parameter"


def own_linear_layer(torch):
    """A layer as PyTorch's source has it: reset_parameters, fan in, extra_repr."""
    nn, init = torch.nn, torch.nn.init

    class MyLinear(nn.Module):
        __constants__ = ["in_features", "out_features"]  # noqa: RUF012

        def __init__(self, in_features, out_features, bias=True):
            super().__init__()
            self.in_features, self.out_features = in_features, out_features
            self.weight = nn.Parameter(torch.empty(out_features, in_features))
            if bias:
                self.bias = nn.Parameter(torch.Tensor(out_features))
            else:
                self.register_parameter("bias", None)
            self.reset_parameters()

        def reset_parameters(self):
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
            if self.bias is not None:
                fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

        def forward(self, input):
            return nn.functional.linear(input, self.weight, self.bias)

        def extra_repr(self):
            return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"

    layer, plain = MyLinear(16, 4), MyLinear(16, 4, bias=False)
    reference = nn.Linear(16, 4)
    layer.load_state_dict(reference.state_dict())
    x = torch.ones(2, 16)
    shown = [bool((plain.weight.abs() <= 0.25).all()), bool((layer(x) == reference(x)).all())]
    return [*shown, str(layer), str(plain), list(plain.state_dict())]


def test_own_linear_layer(both):
    assert both(own_linear_layer)[:2] == [True, True]


def lazy_layers(torch):
    """Layers that learn their input size from the first batch, as newer editions have them."""
    nn = torch.nn
    net = nn.Sequential(nn.LazyConv2d(4, kernel_size=5, padding=2), nn.Sigmoid(),
                        nn.AvgPool2d(kernel_size=2, stride=2), nn.LazyBatchNorm2d(), nn.Flatten(),
                        nn.LazyLinear(10))  # fmt: skip
    before = str(net[-1])
    y = net(torch.ones(2, 1, 8, 8))
    return before, tuple(y.shape), str(net[0]), str(net[-1]), net[-1].weight.shape[1]


def test_lazy_layers(both):
    assert both(lazy_layers)[1] == (2, 10)


def spatial_transformer(torch):
    """A network that first turns and moves its image, trained for some steps."""
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 6, kernel_size=5)
            self.fc = nn.Linear(6 * 6 * 6, 10)
            self.localization = nn.Sequential(
                nn.Conv2d(1, 8, kernel_size=5), nn.MaxPool2d(2, stride=2), nn.ReLU(True)
            )
            self.fc_loc = nn.Sequential(nn.Linear(8 * 6 * 6, 32), nn.ReLU(True), nn.Linear(32, 6))
            self.fc_loc[2].weight.data.zero_()
            self.fc_loc[2].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))

        def stn(self, x):
            xs = self.localization(x).view(-1, 8 * 6 * 6)
            theta = self.fc_loc(xs).view(-1, 2, 3)
            grid = F.affine_grid(theta, x.size(), align_corners=False)
            return F.grid_sample(x, grid, align_corners=False)

        def forward(self, x):
            x = F.relu(F.max_pool2d(self.conv(self.stn(x)), 2))
            return F.log_softmax(self.fc(x.flatten(1)), dim=1)

    net, rng = Net(), np.random.default_rng(0)
    with torch.no_grad():
        for p in net.parameters():
            if p is not net.fc_loc[2].weight and p is not net.fc_loc[2].bias:
                draw = rng.standard_normal(tuple(p.shape)) / math.sqrt(p[0].numel())
                p.copy_(torch.from_numpy(draw.astype(np.float32)))
    images = torch.from_numpy(rng.random((16, 1, 16, 16), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(0, 10, 16))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.nll_loss(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    moved = net.fc_loc[2].bias.tolist()
    return losses, moved, bool((net.stn(images) == images).all())


def test_spatial_transformer(both):
    losses, moved, still = both(spatial_transformer, rtol=1e-4)
    assert losses[-1] < losses[0] and not still
    assert moved != [1, 0, 0, 0, 1, 0] and np.abs(np.subtract(moved, [1, 0, 0, 0, 1, 0])).max() < 1
