"""Chapters on automatic differentiation, in today's forms and in those of PyTorch 0.3."""

from __future__ import annotations

import math

import pytest

import minicnn


def gradients(torch):
    shown = []
    x = torch.ones(2, 2, requires_grad=True)
    y = x + 2
    out = (y * y * 3).mean()
    out.backward()
    shown += [out, x.grad, y.requires_grad, x.grad_fn is None, y.grad_fn is not None, y.is_leaf]
    shown += [y.grad_fn.next_functions[0][1], out.grad_fn.next_functions[0][0] is not None]

    x = torch.arange(4.0, requires_grad=True)
    y = 2 * torch.dot(x, x)
    y.backward()
    shown += [x.grad, x.grad == 4 * x]
    x.grad.zero_()
    x.sum().backward()
    shown.append(x.grad.clone())
    x.grad = None
    (x * x).backward(torch.ones(4))
    shown.append(x.grad)

    x.grad.zero_()
    u = (x * x).detach()  # a constant from here on
    (u * x).sum().backward()
    shown += [x.grad, x.grad == u]

    v = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    w = v * 2
    while w.data.norm() < 100:
        w = w * 2
    w.backward(torch.tensor([0.1, 1.0, 0.001]))
    shown += [w, v.grad]
    with torch.no_grad():
        shown.append((v * 2).requires_grad)
    shown += [(v * 2).detach().requires_grad, torch.is_grad_enabled()]
    return shown


def test_gradients(both):
    assert both(gradients)[1].tolist() == [[4.5, 4.5], [4.5, 4.5]]


def control_flow(torch):
    def f(a):
        b = a * 2
        while b.norm() < 1000:
            b = b * 2
        return b if b.sum() > 0 else 100 * b

    shown = []
    for start in (0.7, -0.3):
        a = torch.tensor(start, requires_grad=True)
        d = f(a)
        d.backward()
        shown += [d, a.grad, bool(a.grad == d / a)]
    return shown


def test_control_flow(both):
    assert both(control_flow)[2] is True


def second_derivatives(torch):
    x = torch.linspace(-2, 2, 5, requires_grad=True)
    y = torch.tanh(x).sum() + (x**3).sum()
    (first,) = torch.autograd.grad(y, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, retain_graph=True)
    penalty = (first.norm() - 1) ** 2
    penalty.backward()
    return first, second, penalty, x.grad


def test_second_derivatives(both):
    both(second_derivatives)


def polynomial_by_hand(torch):
    """A cubic fitted to a sine: the gradient by hand, by autograd, and by an optimizer."""
    x = torch.linspace(-math.pi, math.pi, 200)
    y = torch.sin(x)
    rate = 1e-4

    a, b = torch.tensor(0.1), torch.tensor(0.2)
    for _ in range(10):
        y_pred = a + b * x
        grad = 2.0 * (y_pred - y)
        a -= rate * grad.sum()
        b -= rate * (grad * x).sum()
    shown = [a, b]

    a = torch.tensor(0.1, requires_grad=True)
    b = torch.tensor(0.2, requires_grad=True)
    for _ in range(10):
        loss = (a + b * x - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            a -= rate * a.grad
            b -= rate * b.grad
            a.grad = None
            b.grad.zero_()
    shown += [a, b, f"y = {a.item():.4f} + {b.item():.4f} x"]

    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, 0.2, 0.3]]))
        model[0].bias.fill_(0.5)
    powers = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
    loss_fn = torch.nn.MSELoss(reduction="sum")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        loss = loss_fn(model(powers), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    linear = model[0]
    return [*shown, loss.item(), linear.weight[:, 0].item(), linear.bias.item()]


def test_polynomial_by_hand(both):
    shown = both(polynomial_by_hand)
    assert abs(shown[0].item() - shown[2].item()) < 1e-6
    assert abs(shown[1].item() - shown[3].item()) < 1e-6


def own_function(torch):
    """A ReLU and a polynomial as Functions with ctx, and one that is no function of its input."""

    class MyReLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input):
            ctx.save_for_backward(input)
            return input.clamp(min=0)

        @staticmethod
        def backward(ctx, grad_output):
            (input,) = ctx.saved_tensors
            grad_input = grad_output.clone()
            grad_input[input < 0] = 0
            return grad_input

    class LegendrePolynomial3(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input):
            ctx.save_for_backward(input)
            return 0.5 * (5 * input**3 - 3 * input)

        @staticmethod
        def backward(ctx, grad_output):
            (input,) = ctx.saved_tensors
            return grad_output * 1.5 * (5 * input**2 - 1)

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output * ctx.factor, None

    class RoundStraightThrough(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output

    shown = []
    for apply in (MyReLU.apply, LegendrePolynomial3.apply, lambda x: Scale.apply(x, 3.0),
                  RoundStraightThrough.apply):  # fmt: skip
        x = torch.tensor([[-1.3, 0.4], [0.6, 2.2]], requires_grad=True)
        y = apply(x)
        (y * torch.tensor([1.0, 2.0])).sum().backward()
        shown += [y, x.grad]
    x = torch.randn(4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(LegendrePolynomial3.apply, (x,), eps=1e-6, atol=1e-4)
    return shown


def test_own_function(both):
    assert both(own_function)[1].tolist() == [[0, 2], [1, 2]]


def two_layers_in_0_3_style(torch):
    """Variable, .data, sizes of losses in .data[...]: programs from before PyTorch 0.4."""
    Variable = torch.autograd.Variable
    x = Variable(torch.sin(torch.arange(0.0, 40)).view(8, 5))
    y = Variable(torch.cos(torch.arange(0.0, 16)).view(8, 2), requires_grad=False)
    w1 = Variable(torch.linspace(-1, 1, 30).view(5, 6), requires_grad=True)
    w2 = Variable(torch.linspace(1, -1, 12).view(6, 2), requires_grad=True)
    losses = []
    for t in range(6):
        y_pred = x.mm(w1).clamp(min=0).mm(w2)
        loss = (y_pred - y).pow(2).sum()
        losses.append(loss.data.item())
        if t > 0:
            w1.grad.data.zero_()
            w2.grad.data.zero_()
        loss.backward()
        w1.data -= 1e-2 * w1.grad.data
        w2.data.sub_(1e-2 * w2.grad.data)
    return losses, w1.data, w2.data, w1.grad.data, type(w1.data).__name__


def test_two_layers_in_0_3_style(both):
    losses = both(two_layers_in_0_3_style)[0]
    assert losses[-1] < losses[0]


def alpha_first(torch):
    """`p.data.add_(-rate, p.grad.data)`: how optimizers were written before PyTorch 1.5."""
    w = torch.autograd.Variable(torch.ones(3), requires_grad=True)
    (w * torch.arange(3.0)).sum().backward()
    w.data.add_(-0.1, w.grad.data)
    return w, torch.add(w.data, 2, w.grad)


def test_alpha_first(both):
    with pytest.warns(UserWarning, match=r"write add\(other, alpha=...\)"):
        both(alpha_first)


def in_place_rules(torch):
    """What PyTorch refuses is refused."""
    refused = []
    w = torch.ones(2, requires_grad=True)

    def leaf():
        w.add_(1)

    def saved():
        y = w.exp()
        y += 1
        y.sum().backward()

    def twice():
        y = (w * w).sum()
        y.backward()
        y.backward()

    def no_scalar():
        (w * 2).backward()

    def to_numpy():
        (w * 2).numpy()

    def integers():
        torch.tensor([1, 2], requires_grad=True)

    for attempt in (leaf, saved, twice, no_scalar, to_numpy, integers):
        try:
            attempt()
        except RuntimeError:
            refused.append(attempt.__name__)
    y = w * 2
    y += 1  # nothing needs the old value
    y.sum().backward()
    return refused, y


def test_in_place_rules(both):
    assert both(in_place_rules)[0] == [
        "leaf", "saved", "twice", "no_scalar", "to_numpy", "integers"
    ]  # fmt: skip


def hooks_and_retained_gradients(torch):
    seen = []
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    handle = y.register_hook(lambda grad: seen.append(grad.clone()))
    y.retain_grad()
    y.register_hook(lambda grad: grad * 10)
    y.pow(2).sum().backward()
    handle.remove()
    return seen, y.grad, x.grad


def test_hooks_and_retained_gradients(both):
    both(hooks_and_retained_gradients)


def decorators(torch):
    @torch.no_grad()
    def evaluate(x):
        return x * 2

    @torch.inference_mode()
    def infer(x):
        return x * 2

    x = torch.ones(1, requires_grad=True)
    states = [evaluate(x).requires_grad, infer(x).requires_grad]
    for train in (True, False):
        with torch.set_grad_enabled(train):
            states.append((x * 2).requires_grad)
    with torch.no_grad(), torch.enable_grad():
        states.append((x * 2).requires_grad)
    with torch.autograd.set_detect_anomaly(True):
        (x * 2).sum().backward()
    return states, x.grad


def test_decorators(both):
    assert both(decorators)[0] == [False, False, True, False, True]


def test_anomaly_mode_names_the_op():
    x = minicnn.tensor([-1.0, 2.0], requires_grad=True)
    with minicnn.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="Log"):
        minicnn.log(x).sum().backward()
