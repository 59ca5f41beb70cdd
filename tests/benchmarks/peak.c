/* Prints how many float32 multiply-adds one thread does per nanosecond, all on registers.
 *
 * Twelve sums hide the latency of four or five cycles on two units and fit 16 registers. The best
 * of several loops counts: anything slower was disturbed. */
#include <stdio.h>
#include <time.h>

typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));

enum { SUMS = 12, STEPS = 1000000, LOOPS = 25, LANES = VECTOR_BYTES / 4 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(void) {
    double best = 1e9;
    float sink = 0;
    for (int loop = 0; loop < LOOPS; ++loop) {
        Vector sums[SUMS] = {{0}};
        Vector factor = {0}, addend = {0};
        for (int lane = 0; lane < LANES; ++lane) {
            factor[lane] = 0.5f;
            addend[lane] = (float)(loop + 1);
            for (int i = 0; i < SUMS; ++i) sums[i][lane] = (float)i;
        }
        double begin = seconds();
        for (int step = 0; step < STEPS; ++step)
            for (int i = 0; i < SUMS; ++i) sums[i] = sums[i] * factor + addend;
        double taken = seconds() - begin;
        if (taken < best) best = taken;
        for (int i = 0; i < SUMS; ++i) sink += sums[i][0];
    }
    if (sink == 0) return 1;
    printf("%.3f\n", (double)SUMS * STEPS * LANES / best * 1e-9);
    return 0;
}
