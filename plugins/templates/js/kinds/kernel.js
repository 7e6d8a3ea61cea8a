// A kernel: the median of each coordinate, which a minority of broken updates cannot move far.
// Rows whose weight is 0 are left out.

export const kernel = {
  reduceChunk(_tile, weights, rows) {
    const taken = rows.filter((_row, index) => weights[index] !== 0);
    if (taken.length === 0) {
      throw { tag: "unsupported", val: "there is no update with a weight" };
    }
    const middle = taken.length >> 1;
    const isOdd = taken.length % 2 === 1;
    // A typed array, because it sorts by number; another array sorts by text.
    const column = new Float32Array(taken.length);
    return taken[0].map((_value, at) => {
      for (let index = 0; index < taken.length; index++) column[index] = taken[index][at];
      column.sort();
      return isOdd ? column[middle] : (column[middle - 1] + column[middle]) / 2;
    });
  },
};
