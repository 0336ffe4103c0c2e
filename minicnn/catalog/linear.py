"""Products of matrices, and sums of them."""

from __future__ import annotations

from .case import Case, Draw, alias, entered, entry, op


def sizes(draw: Draw) -> tuple[int, int, int, int]:
    """N, I, J, K."""
    n, i, j, k = draw.shape(4)
    return n, i, j, k


@op(section="MatMul", count=30)
def matmul(draw: Draw) -> Case:
    """Vectors, matrices and stacks that broadcast."""
    n, i, j, k = sizes(draw)
    a, b = draw.choice(
        ((j,), (j,)), ((i, j), (j,)), ((j,), (j, k)), ((i, j), (j, k)), ((n, i, j), (j, k)),
        ((n, i, j), (j,)), ((i, j), (n, j, k)), ((n, i, j), (n, j, k)), ((n, 1, i, j), (2, j, k)),
    )  # fmt: skip
    return Case("matmul", draw.normal(*a), draw.normal(*b))


def product(draw: Draw, name: str, *letters: str) -> Case:
    """A function of tensors whose dimensions are letters of n, i, j, k."""
    size = dict(zip("nijk", sizes(draw), strict=True))
    return Case(name, *[draw.normal(*[size[c] for c in term]) for term in letters])


for name, terms in {
    "mm": ("ij", "jk"), "bmm": ("nij", "njk"), "mv": ("ij", "j"), "dot": ("j", "j"),
    "outer": ("i", "j"),
}.items():  # fmt: skip

    def multiplied(draw: Draw, name: str = name, terms: tuple[str, ...] = terms) -> Case:
        """Any sizes."""
        return product(draw, name, *terms)

    entry(name, multiplied, section="Mul" if name == "outer" else "MatMul")

for name, out, terms in (
    ("addmm", "ik", ("ij", "jk")), ("addmv", "i", ("ij", "j")), ("addr", "ij", ("i", "j")),
    ("baddbmm", "nik", ("nij", "njk")), ("addbmm", "ik", ("nij", "njk")),
):  # fmt: skip

    def added(draw: Draw, name: str = name, out: str = out, terms: tuple[str, ...] = terms) -> Case:
        """With beta and alpha; what is added broadcasts."""
        case = product(draw, name, out, *terms)
        first = draw.normal(*draw.broadcast(case.inputs[0].shape))
        case.inputs = (first, *case.inputs[1:])
        case.options = draw.choice({}, {"beta": 0.5}, {"alpha": -2}, {"beta": 2, "alpha": 0.3})
        return case

    entry(name, added, section="Mul" if name == "addr" else "MatMul")


@op(section="MatMul")
def inner(draw: Draw) -> Case:
    """Vectors, matrices, numbers."""
    n, i, j, k = sizes(draw)
    a, b = draw.choice(((j,), (j,)), ((i, j), (k, j)), ((), (k, j)), ((n, i, j), (j,)))
    return Case("inner", draw.normal(*a), draw.normal(*b))


@op(section="MatMul")
def tensordot(draw: Draw) -> Case:
    """Over so many dimensions, or over named ones."""
    n, i, j, k = sizes(draw)
    return draw.choice(
        Case("tensordot", draw.normal(n, i, j), draw.normal(i, j, k)),
        Case("tensordot", draw.normal(n, i, j), draw.normal(j, k), dims=1),
        Case("tensordot", draw.normal(n, i), draw.normal(j, k), dims=0),
        Case("tensordot", draw.normal(n, i, j), draw.normal(j, n, k), dims=([0, 2], [1, 0])),
        Case("tensordot", draw.normal(n, i, j), draw.normal(k, i), dims=([-2], [-1])),
    )


@op(section="Mul")
def kron(draw: Draw) -> Case:
    """Of tensors of different numbers of dimensions too."""
    a, b = draw.shape(draw.integer(1, 3), 1, 3), draw.shape(draw.integer(1, 3), 1, 3)
    return Case("kron", draw.normal(*a), draw.normal(*b))


@op(section="Linear", count=20)
def linear(draw: Draw) -> Case:
    """Any number of dimensions in front, with a bias or without."""
    C, F = draw.integer(1, 4), draw.integer(1, 4)
    x, w = draw.normal(*draw.shape(draw.integer(0, 3)), C), draw.normal(F, C)
    return Case("nn.functional.linear", x, w, draw.choice(None, draw.normal(F)))


EQUATIONS = (
    "nc,fc->nf", "nij,njk->nik", "ij->ji", "ij->", "ij->j", "ij,ij->", "i,j->ij", "nchw->nc",
    "ij,jk,kl->il", "ij,jk", "ba", "ii->i", "ii", "iij->j", "...ij,...jk->...ik", "...i->...",
    "n...,n...->n...", "i...,...j->j...i", "...ij", "nchw,fc->nfhw", "ni,nj->nij",
)  # fmt: skip


@op(section="Einsum", count=60)
def einsum(draw: Draw) -> Case:
    """Products, sums, transposes, diagonals, and dots that broadcast."""
    equation = draw.choice(*EQUATIONS)
    size = {c: draw.integer(1, 3) for c in equation if c.isalpha()}
    dots, operands = draw.shape(2), []
    for term in equation.partition("->")[0].split(","):
        letters = [size[c] for c in term if c.isalpha()]
        where = term.find("...")
        extra = draw.broadcast(dots) if where >= 0 else ()
        operands.append(draw.normal(*letters[:where], *extra, *letters[where:])
                        if where >= 0 else draw.normal(*letters))  # fmt: skip
    return Case("einsum", equation, *operands)


alias("ger", entered("outer"))
alias("vdot", entered("dot"))
