/* Measures what one core can do at most: products and sums of f32 a second, and of numbers of 8
 * bits where it has VNNI. Owns nothing else. Bound: half a second for each; prints one line.
 *
 * Twelve sums that do not wait for each other and no memory: more than any product of matrices can
 * reach. Built by inference.sh with -march=native. */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define SUMS 12
#define STEPS 1000000
/* Otherwise the sums would lie in memory. */
#define UNROLLED _Pragma("GCC unroll 12")

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#if defined(__AVX512F__)
typedef __m512 floats;
#define FMA(sum) asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(factor))
#elif defined(__FMA__)
typedef __m256 floats;
#define FMA(sum) asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum) : "x"(factor))
#endif

/* Operations a second, a product and a sum being two. */
static double f32(void) {
#if defined(__FMA__)
    floats sums[SUMS] = {0}, factor = {0};
    double start = now();
    for (int step = 0; step < STEPS; step++)
        UNROLLED for (int sum = 0; sum < SUMS; sum++) FMA(sums[sum]);
    return 2.0 * sizeof(floats) / sizeof(float) * SUMS * STEPS / (now() - start);
#else
    return 0.0;
#endif
}

static double int8(void) {
#if defined(__AVX512VNNI__)
    __m512i sums[SUMS] = {0}, factor = {0};
    double start = now();
    for (int step = 0; step < STEPS; step++)
        UNROLLED for (int sum = 0; sum < SUMS; sum++)
            asm volatile("vpdpbusd %1, %1, %0" : "+v"(sums[sum]) : "v"(factor));
    return 2.0 * sizeof(__m512i) * SUMS * STEPS / (now() - start);
#else
    return 0.0;
#endif
}

static double best(double (*measured)(void)) {
    double most = 0.0, until = now() + 0.5;
    while (now() < until) {
        double found = measured();
        most = found > most ? found : most;
    }
    return most;
}

int main(void) {
    double of_f32 = best(f32), of_int8 = best(int8);
    printf("{\"f32\": %.4g, \"int8\": %.4g}\n", of_f32, of_int8);
    return 0;
}
