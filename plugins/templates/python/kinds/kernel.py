"""A kernel: the median of each coordinate, which a minority of broken updates cannot move far.

Rows whose weight is 0 are left out.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.kernel import KernelError_Unsupported, Tile


class Kernel(exports.Kernel):
    def reduce_chunk(
        self, tile: Tile, weights: list[float], rows: list[list[float]]
    ) -> list[float]:
        taken = [row for row, weight in zip(rows, weights) if weight != 0]
        if not taken:
            raise Err(KernelError_Unsupported("there is no update with a weight"))
        columns = map(sorted, zip(*taken))
        middle = len(taken) // 2
        if len(taken) % 2 == 1:
            return [column[middle] for column in columns]
        return [(column[middle - 1] + column[middle]) / 2 for column in columns]
