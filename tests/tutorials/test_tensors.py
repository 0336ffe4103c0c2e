"""First chapters: making tensors, arithmetic, indexing, reductions, NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn


def first_steps(torch):
    shown = []
    x = torch.Tensor([[1, 2, 3], [4, 5, 6]])
    shown += [x, x.size(0), x.shape[1], x.dim(), x.numel(), tuple(x.size())]
    shown += [torch.zeros(2, 3, dtype=torch.long), torch.ones(4), torch.full((2, 2), 7.5)]
    shown += [torch.eye(3), torch.linspace(0, 1, steps=5), torch.arange(1, 10, 3)]
    y = x.new_ones(2, 3, dtype=torch.double)
    z = torch.zeros_like(y, dtype=torch.float)
    shown += [y, z, x + z, torch.add(x, z, alpha=2), x.add_(1), x.t(), x.T]
    shown += [
        torch.FloatTensor([1.5, 2]),
        torch.LongTensor([[1], [2]]),
        torch.IntTensor(2, 3).shape,
    ]
    shown += [x.view(-1, 2), x.view(6), x.reshape(3, -1), x.view(x.size(0), -1).size(1)]
    shown += [x.unsqueeze(1).shape, x[None].squeeze(0).shape, x.expand(4, 2, 3).shape]
    shown += [x.double().dtype == torch.float64, x.long(), x.type(torch.LongTensor).sum().item()]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if str(device) == "cpu":
        x = x.to(device)
        shown += [x.to(device, torch.double), str(x.device), x.is_cuda]
    return shown


def test_first_steps(both):
    shown = both(first_steps)
    assert shown[1:6] == [2, 3, 2, 6, (2, 3)]
    assert shown[-1] is False


def data_manipulation(torch):
    x = torch.arange(12, dtype=torch.float32)
    X = x.reshape(3, 4)
    Y = torch.tensor([[2.0, 1, 4, 3], [1, 2, 3, 4], [4, 3, 2, 1]])
    shown = [torch.cat((X, Y), dim=0), torch.cat((X, Y), dim=1), X == Y, X.sum()]
    shown += [X + Y, X - Y, X * Y, X / Y, X**Y, torch.exp(X), X @ Y.T]
    a, b = torch.arange(3).reshape((3, 1)), torch.arange(2).reshape((1, 2))
    shown += [a + b, (a + b).dtype == torch.int64]
    shown += [X[-1], X[1:3], X[:, 1], X[..., 0], X[[0, 2]], X[X > 5], X[1, 2].item()]
    X[1, 2] = 17
    X[:2, :2] = 12
    X[X == 11] = -1
    before = id(Y)
    Y[:] = X + Y
    Y += X
    shown += [X, Y, id(Y) == before]
    shown += [torch.stack([X, Y]).shape, torch.stack((x[:3], x[3:6]), dim=1), X.chunk(2, dim=1)]
    shown += [[part.shape for part in torch.split(x, [2, 4, 6])], [row.sum().item() for row in X]]
    return shown


def test_data_manipulation(both):
    shown = both(data_manipulation)
    assert shown[3].item() == 66


def arguments_by_keyword(torch):
    """The forms `size=`, `dims=`, `dim=`, `axis=`, which some courses use throughout."""
    shown = [tuple(torch.rand(size=(3, 4)).shape), tuple(torch.randn(size=(2, 2)).shape)]
    shown += [torch.zeros(size=(2, 3)), torch.ones(size=(2,), dtype=torch.int64)]
    shown += [tuple(torch.empty(size=(1, 2)).size()), tuple(torch.rand((2, 3)).shape)]
    shown += [torch.full(size=(2, 2), fill_value=1.5), torch.arange(start=0, end=10, step=3)]
    shown += [tuple(torch.randint(low=0, high=5, size=(3,)).shape), torch.linspace(0, 1, steps=3)]
    x = torch.arange(24.0).reshape(2, 3, 4)
    shown += [torch.permute(input=x, dims=(2, 0, 1)), torch.flip(x, dims=[0, 2]), x.flip(1)]
    shown += [torch.reshape(input=x, shape=(4, 6)), torch.tile(x[0, 0], dims=(2,))]
    shown += [torch.stack(tensors=[x[0], x[1]], dim=2), torch.stack([x[0], x[1]], axis=1)]
    shown += [torch.cat([x, x], axis=-1).shape, torch.concat([x, x], dim=1).shape]
    shown += [x.cumsum(axis=0), torch.cumsum(x, dim=1), x.argmax(axis=1), x.max(axis=0)[0]]
    shown += [torch.sum(input=x, dim=(0, 1)), x.sum(axis=-1, keepdims=True), torch.mean(x, axis=0)]
    shown += [torch.unsqueeze(input=x, dim=0).shape, torch.squeeze(x[:1], dim=0).shape]
    shown += [torch.matmul(input=x, other=x[0].T), torch.softmax(input=x, dim=-1)]
    shown += [x.flatten(start_dim=1, end_dim=2).shape, x.transpose(dim0=0, dim1=1).shape]
    shown += [x.nelement(), x.ndimension(), torch.topk(input=x[0], k=2, dim=1)]
    return shown


def test_arguments_by_keyword(both):
    shown = both(arguments_by_keyword)
    assert shown[:2] == [(3, 4), (2, 2)]


def linear_algebra(torch):
    A = torch.arange(20, dtype=torch.float32).reshape(5, 4)
    B = A.clone()
    x = torch.ones(4)
    shown = [A.T, A == B, A + B, A * B, A.sum(axis=0), A.sum(axis=[0, 1]), A.mean(axis=1)]
    total = A.sum(axis=1, keepdims=True)
    shown += [A / total, A.cumsum(0), torch.dot(x, x), torch.mv(A, x), torch.mm(A, B.T)]
    u = torch.tensor([3.0, -4.0])
    shown += [torch.norm(u), torch.abs(u).sum(), A.norm(), u.norm(p=1)]
    Z = torch.arange(24.0).view(2, 3, 4)
    shown += [torch.bmm(Z, Z.transpose(1, 2)), torch.einsum("bij,bkj->bik", Z, Z)]
    shown += [Z.mean(dim=(0, 2), keepdim=True), Z.var(dim=1), Z.std(1, unbiased=False)]
    shown += [Z.max(), Z.max(dim=2), Z.min(0)[1], Z.argmax(), Z.argmax(dim=-1), Z.permute(2, 0, 1)]
    values, indices = Z[0].topk(2, dim=1)
    shown += [values, indices, Z[0].sort(descending=True)[0], torch.outer(u, u)]
    return shown


def test_linear_algebra(both):
    shown = both(linear_algebra)
    assert shown[12].item() == 5


def numpy_bridge(torch):
    a = np.ones(5)
    b = torch.from_numpy(a)
    np.add(a, 1, out=a)
    c = torch.ones(3)
    d = c.numpy()
    c.add_(1)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    x = torch.from_numpy(image.transpose((2, 0, 1))).float().div(255)
    shown = [b, c, d, x, x.numpy().transpose(1, 2, 0), b.tolist(), c.sum().item()]
    shown += [torch.tensor(a.astype(np.float32)), torch.as_tensor([1, 2]), np.array(c.tolist())]
    shown += [float(c[0]), int(c[1]), round(c.mean().item(), 2), f"{c.mean():.3f}", f"{c.sum()}"]
    shown += ["%.2f" % c.mean(), "{:.1f}%".format(100.0 * c[0]), str(c.mean().item())]  # noqa: UP031, UP032
    return shown


def test_numpy_bridge(both):
    shown = both(numpy_bridge)
    assert shown[-5:] == ["2.000", "6.0", "2.00", "200.0%", "2.0"]


def classification_idioms(torch):
    """What evaluation loops do with a batch of scores."""
    scores = torch.tensor([[0.1, 2.0, 0.3], [1.5, 0.2, 0.9], [0.0, 0.1, 0.2], [0.3, 0.1, 0.2]])
    labels = torch.tensor([1, 2, 2, 1])
    values, predicted = torch.max(scores.data, 1)
    correct = (predicted == labels).sum().item()
    pred = scores.argmax(dim=1, keepdim=True)
    same = pred.eq(labels.view_as(pred)).sum().item()
    old = scores.data.max(1, keepdim=True)[1]
    shown = [values, predicted, correct, pred, same, old.eq(labels.data.view_as(old)).cpu().sum()]
    shown += [(scores.argmax(1) == labels).type(torch.float).mean().item()]
    shown += [torch.nn.functional.one_hot(labels, num_classes=3).float()]
    shown += [torch.zeros(4, 3).scatter_(1, labels.unsqueeze(1), 1.0)]
    # As target_transform, one label at a time: the index has no dimension.
    shown += [torch.zeros(10, dtype=torch.float).scatter_(0, torch.tensor(3), value=1)]
    shown += [torch.zeros(4, 3).scatter(dim=1, index=labels[:, None], value=0.5)]
    shown += [scores[range(4), labels], scores.gather(1, labels.view(-1, 1)).squeeze(1)]
    prob = torch.softmax(scores, dim=1)
    shown += [-torch.log(prob[torch.arange(4), labels]).mean(), prob.sum(1), prob.max(1).values]
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for t, p in zip(labels.view(-1), predicted.view(-1), strict=True):
        confusion[t.long(), p.long()] += 1
    shown += [confusion, confusion[range(3), range(3)] / confusion.sum(1).clamp(min=1)]
    return shown


def test_classification_idioms(both):
    shown = both(classification_idioms)
    assert shown[2] == shown[4] == 2


def accuracy_at_k(torch):
    def accuracy(output, target, topk=(1,)):
        with torch.no_grad():
            batch_size = target.size(0)
            _, pred = output.topk(max(topk), 1, True, True)
            pred = pred.t()
            correct = pred.eq(target.view(1, -1).expand_as(pred))
            rates = []
            for k in topk:
                hits = correct[:k].reshape(-1).float().sum(0, keepdim=True)
                rates.append(hits.mul_(100.0 / batch_size))
            return rates

    output = torch.cos(torch.arange(40.0) ** 2).view(8, 5)
    return [rate.item() for rate in accuracy(output, torch.arange(8) % 5, topk=(1, 2, 5))]


def test_accuracy_at_k(both):
    one, two, five = both(accuracy_at_k)
    assert one <= two <= five == 100.0


def forms_of_older_code(torch):
    """Sizes as arguments, factors in front, names that copied optimizers and loops ask for."""
    x = torch.arange(6.0).view(2, 3)
    shown = [torch.Tensor(x.size()).shape, torch.FloatTensor(x.shape).zero_(), x.shape.numel()]
    shown += [torch.LongTensor(x.size()).dtype == torch.int64, torch.Tensor(torch.Size([])).dim()]
    shown += [torch.Tensor((2, 3)), torch.Size([2, 3]) == x.shape, isinstance((2, 3), torch.Size)]
    shown += [isinstance(x.shape, torch.Size), x.new(x.size()).shape, x.new([1, 2]), x.new(4).shape]
    shown += [isinstance(x.dtype, torch.dtype), x.is_sparse]
    shown += [torch.zeros_like(x, memory_format=torch.preserve_format)]
    shown += [x.to(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()]
    distances = torch.ones(2, 2).addmm_(1, -2, x, x.t())
    shown += [distances, torch.ones(2, 2).addmm_(2, x, x.t())]
    shown += [torch.ones(2, 3).addcmul_(0.5, x, x), torch.ones(2, 3).addcdiv_(-2, x, x + 1)]
    shown += [x.clone().unsqueeze_(dim=0).shape, x.clone().transpose_(dim0=0, dim1=1)]
    torch.set_float32_matmul_precision("high")
    shown += [torch.get_float32_matmul_precision()]
    torch.set_float32_matmul_precision("highest")
    w = torch.ones(3, requires_grad=True)
    (g,) = torch.autograd.grad((w**2).sum(), w, create_graph=True, retain_graph=True,
                               only_inputs=True)  # fmt: skip
    return [*shown, g.detach()]


@pytest.mark.filterwarnings("ignore:add(mm|cmul|cdiv)")
def test_forms_of_older_code(both):
    shown = both(forms_of_older_code)
    assert shown[0] == (2, 3) and shown[7:9] == [False, True]


def a_wrapped_network(torch):
    """DataParallel, which keeps the network under the name "module"."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    wrapped = torch.nn.DataParallel(net)
    x = torch.ones(4, 3)
    same = bool((wrapped(x) == net(x)).all())
    return same, list(wrapped.state_dict()), wrapped.module is net, str(wrapped)


def test_a_wrapped_network(both):
    assert both(a_wrapped_network)[1] == ["module.0.weight", "module.0.bias"]
    with pytest.raises(ValueError, match=r"device_ids expects one GPU at most, got \[0, 1\]"):
        minicnn.nn.DataParallel(minicnn.nn.Linear(1, 1), device_ids=[0, 1])


def a_function_with_an_argument_left_out(torch):
    """Its backward gives None for the bias that was not given."""

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias=None):
            ctx.save_for_backward(x, weight)
            y = x.mm(weight.t())
            return y if bias is None else y + bias

        @staticmethod
        def backward(ctx, grad_y):
            x, weight = ctx.saved_tensors
            return grad_y.mm(weight), grad_y.t().mm(x), None

    x, w = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    Linear.apply(x, w).sum().backward()
    return x.grad, w.grad


def test_a_function_with_an_argument_left_out(both):
    both(a_function_with_an_argument_left_out)


def test_what_is_not_meant_is_refused():
    x = minicnn.ones(2, 2)
    with pytest.raises(NotImplementedError, match="is_grads_batched False"):
        minicnn.autograd.grad(x.sum(), x, is_grads_batched=True)

    class Twice(minicnn.autograd.Function):
        def forward(self, x):
            return 2 * x

        def backward(self, grad_y):
            return 2 * grad_y, grad_y

    with pytest.raises(RuntimeError, match="backward returned 2 gradients for 1 inputs"):
        Twice.apply(minicnn.ones(2, requires_grad=True)).sum().backward()
    with pytest.raises(NotImplementedError, match="only_inputs expects True"):
        minicnn.autograd.grad(x.sum(), x, only_inputs=False)
    with pytest.raises(ValueError, match="expects one of 'highest', 'high', 'medium', got 'low'"):
        minicnn.set_float32_matmul_precision("low")
    with pytest.raises(TypeError, match="addmm: expects two matrices, got 5 arguments"):
        x.addmm(1, 2, 3, x, x)
