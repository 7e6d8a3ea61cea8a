"""Owns the side of NumPy and Numba in the comparison of single functions: the guide's own code for
the similarities, and scaling by what is known or by mean and deviation of each column.

Refuses to know what is measured against it. Bound: results go to a buffer that is kept, in f32.
"""

import os

import numpy
from measure import serve


def numbers(count: int) -> numpy.ndarray:
    """As functions.rs makes them."""
    at = numpy.arange(count, dtype=numpy.int64)
    return (at * 7919 % 2003).astype(numpy.float32) / numpy.float32(1001) - numpy.float32(1)


def with_numpy(function: str, values: numpy.ndarray, mean, scale):
    rows, _ = values.shape
    if function == "scale":
        out = numpy.empty_like(values)

        def call(_index):
            numpy.subtract(values, mean, out=out)
            return numpy.multiply(out, scale, out=out)
    elif function == "standardise":
        out = numpy.empty_like(values)

        def call(_index):
            numpy.subtract(values, values.mean(axis=0), out=out)
            return numpy.divide(out, values.std(axis=0), out=out)
    else:
        out = numpy.empty((rows, rows), numpy.float32)

        def call(_index):
            norms = numpy.linalg.norm(values, axis=1, keepdims=True)
            normalized = values / norms
            return numpy.dot(normalized, normalized.T, out=out)
    return call


def with_numba(function: str, values: numpy.ndarray, mean, scale):
    import numba
    jit, prange = numba.jit(nopython=True, parallel=True, fastmath=True), numba.prange

    @jit
    def scaled(values, mean, scale, out):
        for row in prange(values.shape[0]):
            for column in range(values.shape[1]):
                out[row, column] = (values[row, column] - mean[column]) * scale[column]
        return out

    @jit
    def standardised(values, out):
        rows, columns = values.shape
        for column in prange(columns):
            of_column = values[:, column]
            mean, deviation = of_column.mean(), of_column.std()
            for row in range(rows):
                out[row, column] = (of_column[row] - mean) / deviation
        return out

    @jit
    def similarities(values, out):
        rows, columns = values.shape
        normalized = numpy.empty_like(values)
        for row in prange(rows):
            length = numpy.float32(0)
            for column in range(columns):
                length += values[row, column] * values[row, column]
            for column in range(columns):
                normalized[row, column] = values[row, column] / numpy.sqrt(length)
        for row in prange(rows):
            for other in range(rows):
                total = numpy.float32(0)
                for column in range(columns):
                    total += normalized[row, column] * normalized[other, column]
                out[row, other] = total
        return out

    rows, _ = values.shape
    if function == "scale":
        out = numpy.empty_like(values)
        return lambda _index: scaled(values, mean, scale, out)
    if function == "standardise":
        out = numpy.empty_like(values)
        return lambda _index: standardised(values, out)
    out = numpy.empty((rows, rows), numpy.float32)
    return lambda _index: similarities(values, out)


def open_function(question: dict):
    """The call that a question is about."""
    rows, columns = question["batch"], question["columns"]
    values = numbers(rows * columns).reshape(rows, columns)
    known = [numpy.full(columns, number, numpy.float32) for number in (0.25, 0.5)]
    by = {"numpy": with_numpy, "numba": with_numba}[question["form"]]
    return by(question["function"], values, *known)


if __name__ == "__main__":
    # As many threads as cores, which both libraries take from the environment.
    cores = str(len(os.sched_getaffinity(0)))
    wanted = {"OPENBLAS_NUM_THREADS": cores, "NUMBA_NUM_THREADS": cores}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        raise SystemExit(f"start it with {wanted}")
    serve(open_function)
