// A kernel: the median of each coordinate, which a minority of broken updates cannot move far.
//
// The rows are sorted by a network of comparisons, which are the same for each coordinate, so that
// SIMD instructions make them for four coordinates at a time. Rows whose weight is 0 are left out.

#include <stdlib.h>
#include <string.h>

#include "kernel_plugin.h"

// Coordinates that are sorted together: few enough that usual rounds stay in the cache.
#define WIDTH 64

// A block of one row.
typedef float block_t[WIDTH];

// Puts the smaller of each two coordinates into `low`. Branches would be slower, as no processor
// can foresee them.
__attribute__((target("simd128"))) static void compare(float *restrict low, float *restrict high) {
  for (size_t at = 0; at < WIDTH; at++) {
    float a = low[at], b = high[at];
    low[at] = b < a ? b : a;
    high[at] = a < b ? b : a;
  }
}

// Sorts the blocks coordinate by coordinate: Batcher's merge exchange (Knuth, 5.2.2, algorithm M),
// which takes any number of rows.
static void sort(block_t *blocks, size_t count) {
  size_t top = 1;
  while (top * 2 < count) top *= 2;
  for (size_t p = top; p > 0; p /= 2) {
    size_t distance = p, wanted = 0;
    for (size_t q = top;; q /= 2) {
      for (size_t at = 0; at + distance < count; at++) {
        if ((at & p) == wanted) compare(blocks[at], blocks[at + distance]);
      }
      if (q == p) break;
      distance = q - p;
      wanted = p;
    }
  }
}

// The medians of rows of one length. The memory for them is the caller's.
static void reduce(const kernel_plugin_list_f32_t *rows, size_t count, float *medians,
                   size_t length, block_t *blocks) {
  size_t middle = count / 2;
  for (size_t begin = 0; begin < length; begin += WIDTH) {
    size_t width = length - begin < WIDTH ? length - begin : WIDTH;
    for (size_t row = 0; row < count; row++) {
      memcpy(blocks[row], rows[row].ptr + begin, width * sizeof(float));
    }
    sort(blocks, count);
    for (size_t at = 0; at < width; at++) {
      medians[begin + at] = count % 2 == 1
                                ? blocks[middle][at]
                                : (blocks[middle - 1][at] + blocks[middle][at]) / 2.0f;
    }
  }
}

// Zeroed memory, so that what is sorted beyond the end of a row is a number. The host replaces an
// instance that traps, and frees no list that is empty.
static void *allocate(size_t count, size_t size) {
  if (count == 0) return NULL;
  void *memory = calloc(count, size);
  if (memory == NULL) abort();
  return memory;
}

bool exports_truststram_policy_kernel_reduce_chunk(
    exports_truststram_policy_kernel_tile_t *tile, kernel_plugin_list_f32_t *weights,
    kernel_plugin_list_list_f32_t *rows, kernel_plugin_list_f32_t *medians,
    exports_truststram_policy_kernel_kernel_error_t *error) {
  (void)tile;
  kernel_plugin_list_f32_t *taken = allocate(rows->len, sizeof *taken);
  size_t count = 0;
  for (size_t row = 0; row < rows->len; row++) {
    if (weights->ptr[row] != 0.0f) taken[count++] = rows->ptr[row];
  }
  if (count > 0) {
    block_t *blocks = allocate(count, sizeof *blocks);
    medians->len = taken[0].len;
    medians->ptr = allocate(medians->len, sizeof(float));
    reduce(taken, count, medians->ptr, medians->len, blocks);
    free(blocks);
  } else {
    error->tag = EXPORTS_TRUSTSTRAM_POLICY_KERNEL_KERNEL_ERROR_UNSUPPORTED;
    kernel_plugin_string_dup(&error->val.unsupported, "there is no update with a weight");
  }
  free(taken);
  kernel_plugin_list_f32_free(weights);
  kernel_plugin_list_list_f32_free(rows);
  return count > 0;
}
