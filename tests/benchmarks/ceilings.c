/* What the machine can do at most, for reading times against: one line of JSON.
 *
 *     cc -O3 -march=native -ffp-contract=fast -pthread -DVECTOR_BYTES=64 ceilings.c && ./a.out 2
 *
 * Every figure is the best of many bursts of all threads at once, each by the processor time of
 * its slowest thread: anything slower was disturbed by other work. Multiply-adds run on
 * registers, with as many independent sums as hide their latency. Reads add up whole vectors of a
 * buffer per thread that fits the named level, or that no cache holds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

enum { SUMS = 12, MOST_THREADS = 64, LANES = VECTOR_BYTES / 4 };

typedef float FloatVector __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t IntVector __attribute__((vector_size(VECTOR_BYTES)));
typedef void (*Kernel)(char *buffer, size_t bytes, long steps);

/* Where results go, so that no loop is dead. */
static volatile float float_sink;
static volatile int32_t int_sink;

static void multiply_floats(char *buffer, size_t bytes, long steps) {
    (void)buffer, (void)bytes;
    FloatVector sums[SUMS], factor, addend;
    for (int lane = 0; lane < LANES; ++lane) {
        factor[lane] = 0.5f;
        addend[lane] = 1.0f;
        for (int i = 0; i < SUMS; ++i) sums[i][lane] = (float)i;
    }
    for (long step = 0; step < steps; ++step)
        for (int i = 0; i < SUMS; ++i) sums[i] = sums[i] * factor + addend;
    float total = 0;
    for (int i = 0; i < SUMS; ++i) total += sums[i][0];
    float_sink = total;
}

/* Four int8 products into each lane of 32 bits, by what the processor has for it. */
#if defined(__AVX512VNNI__) && VECTOR_BYTES == 64
#define INT8_KIND "vpdpbusd"
#define REGISTER "+v"
#define DOT(sum, a, b) (IntVector) _mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(b))
#elif (defined(__AVXVNNI__) || defined(__AVX512VNNI__)) && VECTOR_BYTES == 32
#define INT8_KIND "vpdpbusd"
#define REGISTER "+x"
#if defined(__AVX512VNNI__)
#define DOT(sum, a, b) (IntVector) _mm256_dpbusd_epi32((__m256i)(sum), (__m256i)(a), (__m256i)(b))
#else
#define DOT(sum, a, b) \
    (IntVector) _mm256_dpbusd_avx_epi32((__m256i)(sum), (__m256i)(a), (__m256i)(b))
#endif
#elif defined(__AVX2__) && VECTOR_BYTES == 32
/* vpmaddubsw may saturate: a model whose weights allow it, or none. */
#define INT8_KIND "vpmaddubsw, vpmaddwd, vpaddd"
#define REGISTER "+x"
#define DOT(sum, a, b)                                                            \
    ((sum) + (IntVector)_mm256_madd_epi16(                                        \
                 _mm256_maddubs_epi16((__m256i)(a), (__m256i)(b)), (__m256i)(b)))
#elif defined(__ARM_FEATURE_DOTPROD) && VECTOR_BYTES == 16
#define INT8_KIND "sdot"
#define REGISTER "+w"
#define DOT(sum, a, b) (IntVector) vdotq_s32((int32x4_t)(sum), (int8x16_t)(a), (int8x16_t)(b))
#endif

#ifdef INT8_KIND
/* Variables of their own: a compiler keeps an array that assembly touches in memory. */
#define EACH_SUM(ACTION) \
    ACTION(0) ACTION(1) ACTION(2) ACTION(3) ACTION(4) ACTION(5) \
    ACTION(6) ACTION(7) ACTION(8) ACTION(9) ACTION(10) ACTION(11)
#define DECLARE(i) IntVector sum##i = a ^ a;
/* Without the assembly the compiler would see that sums are equal and products the same. */
#define ADD(i) sum##i = DOT(sum##i, a, b); __asm__ volatile("" : REGISTER(sum##i), REGISTER(a));
#define TOTAL(i) total += sum##i[0];

static void multiply_bytes(char *buffer, size_t bytes, long steps) {
    (void)bytes;
    IntVector a, b;
    memcpy(&a, buffer, sizeof a);
    memcpy(&b, buffer + sizeof a, sizeof b);
    EACH_SUM(DECLARE)
    for (long step = 0; step < steps; ++step) { EACH_SUM(ADD) }
    int32_t total = 0;
    EACH_SUM(TOTAL)
    int_sink = total;
}
#endif

static void read_buffer(char *buffer, size_t bytes, long steps) {
    enum { STREAMS = 8 };
    IntVector sums[STREAMS];
    for (int i = 0; i < STREAMS; ++i) sums[i] = (IntVector){0};
    for (long step = 0; step < steps; ++step)
        for (size_t at = 0; at < bytes; at += STREAMS * sizeof sums[0])
            for (int i = 0; i < STREAMS; ++i)
                sums[i] ^= *(const IntVector *)(buffer + at + i * sizeof sums[0]);
    int32_t total = 0;
    for (int i = 0; i < STREAMS; ++i) total += sums[i][0];
    int_sink = total;
}

typedef struct {
    Kernel kernel;
    char *buffer;
    size_t bytes;
    long steps;
    int bursts;
    pthread_barrier_t *start;
    double *seconds;
} Worker;

static double thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *work(void *argument) {
    Worker *worker = argument;
    for (int burst = 0; burst < worker->bursts; ++burst) {
        pthread_barrier_wait(worker->start);
        double begin = thread_seconds();
        worker->kernel(worker->buffer, worker->bytes, worker->steps);
        worker->seconds[burst] = thread_seconds() - begin;
    }
    return NULL;
}

/* Seconds of the best burst: that of its slowest thread. */
static double best_burst(Kernel kernel, int threads, size_t bytes, long steps, int bursts) {
    Worker workers[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; ++i) {
        char *buffer = aligned_alloc(4096, bytes);
        double *seconds = calloc((size_t)bursts, sizeof *seconds);
        if (!buffer || !seconds) exit(1);
        memset(buffer, i + 1, bytes);
        workers[i] = (Worker){kernel, buffer, bytes, steps, bursts, &start, seconds};
        if (pthread_create(&handles[i], NULL, work, &workers[i])) exit(1);
    }
    for (int i = 0; i < threads; ++i) pthread_join(handles[i], NULL);
    double best = 1e9;
    for (int burst = 0; burst < bursts; ++burst) {
        double slowest = 0;
        for (int i = 0; i < threads; ++i)
            if (workers[i].seconds[burst] > slowest) slowest = workers[i].seconds[burst];
        if (slowest < best) best = slowest;
    }
    for (int i = 0; i < threads; ++i) free(workers[i].buffer), free(workers[i].seconds);
    return best;
}

static double read_rate(int threads, size_t bytes, long steps, int bursts) {
    double seconds = best_burst(read_buffer, threads, bytes, steps, bursts);
    return (double)threads * (double)bytes * (double)steps / seconds * 1e-9;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    size_t level1 = count > 2 ? (size_t)atol(arguments[2]) : 32 << 10;
    size_t level2 = count > 3 ? (size_t)atol(arguments[3]) : 256 << 10;
    if (threads < 1 || threads > MOST_THREADS || level1 < 4096 || level2 < 65536) return 1;
    const long steps = 1000000;
    const size_t page = 4096, none = (size_t)512 << 20;
    double seconds = best_burst(multiply_floats, threads, page, steps, 40);
    double vectors = (double)SUMS * (double)steps * threads;
    printf("{\"float32 G multiply-adds/s\": %.1f, ", vectors * LANES / seconds * 1e-9);
#ifdef INT8_KIND
    seconds = best_burst(multiply_bytes, threads, page, steps, 40);
    printf("\"int8 G multiply-adds/s\": %.1f, ", vectors * VECTOR_BYTES / seconds * 1e-9);
    printf("\"int8 by\": \"%s\", ", INT8_KIND);
#endif
    size_t half1 = level1 / 2 / page * page, half2 = level2 / 2 / page * page;
    printf("\"level 1 GB/s\": %.1f, ", read_rate(threads, half1, (long)(64e6 / (double)half1), 40));
    printf("\"level 2 GB/s\": %.1f, ", read_rate(threads, half2, (long)(64e6 / (double)half2), 40));
    printf("\"memory GB/s\": %.1f}\n", read_rate(threads, none / (size_t)threads, 1, 10));
    return 0;
}
