/* Damage anywhere in a descriptor: it is refused, or what runs stays within the memory.
 *
 * The model has everything at once: dimensions that differ from run to run, a loop around a
 * group of strips, a branch, weights, workspaces. Each number in its tables takes other
 * values, alone and together with others. Lengths of tables only get shorter, because nobody
 * can see how long a table really is. Kernels compute nothing: they check what they are given.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

enum { X, GO, LIMIT, ROUND, A, B, SCALE, TENSORS };
enum { EXPAND, FIRST_SUM, FIRST_SCALE, SECOND_SUM, SECOND_SCALE, FINISH, CALLS };
enum { MOST = 8, COLUMNS = 16, SLACK = 64, SIZES = 2, TERMS = 5 };
enum { SYMBOLS = 3, MOST_COUNT = 4 };
enum { A_BYTES = MOST * COLUMNS * sizeof(float), MOST_MEMORY = 1 << 20 };

typedef struct damage_model {
  ec_model model;
  ec_dynamic dynamic;
  ec_symbol symbols[SYMBOLS];
  ec_count counts[1];
  ec_term terms[TERMS];
  ec_extent half;               /* floor(n / 2): the second symbol */
  ec_extent items[CALLS];       /* of the calls whose items differ */
  ec_extent sizes[SIZES];       /* of each call that has any */
  ec_extent shape[EC_MAX_RANK]; /* of x and of b */
  uint64_t strides[EC_MAX_KERNEL_POINTERS];
  uint32_t call_tensors[CALLS][EC_MAX_KERNEL_POINTERS];
  ec_tensor tensors[TENSORS];
  ec_call calls[CALLS];
  ec_dynamic_call sized[CALLS];
  ec_region regions[2];
  ec_port inputs[3];
  ec_port outputs[1];
  const ec_extent *input_shapes[3];
  const ec_extent *output_shapes[1];
} damage_model;

static _Alignas(64) const uint8_t weights[256];

/* The model whose kernels run, and where its session has its arena and ends. */
static struct {
  const damage_model *of;
  const uint8_t *arena;
  const uint8_t *memory_end;
} running;

/* Whether `bytes` and slack from an address on are in the arena or in the weights. */
static bool is_inside(const uint8_t *from, uint64_t bytes) {
  const ec_model *model = &running.of->model;
  uintptr_t at = (uintptr_t)from;
  uintptr_t arena = (uintptr_t)running.arena;
  uintptr_t data = (uintptr_t)weights;
  uint64_t arena_left = at >= arena ? arena + model->arena_bytes - at : 0;
  uint64_t weights_left = at >= data ? data + model->weights_bytes - at : 0;
  return (arena_left <= model->arena_bytes && arena_left >= bytes) ||
         (weights_left <= model->weights_bytes && weights_left >= bytes);
}

/* A call's pointers: its tensors, the workspace where it has one, the sizes where there are.
 */
static void check_call(uint32_t index, void *const *pointers, int32_t lo, int32_t hi) {
  const ec_call *call = &running.of->calls[index];
  const ec_dynamic_call *sized = &running.of->sized[index];
  bool repeats = running.of->model.dynamic != NULL && sized->strides != NULL;
  uint32_t count = call->pointer_count;
  CHECK(lo >= 0 && lo < hi);
  CHECK((uint32_t)hi - call->first_item <= call->work_items);
  for (uint32_t i = 0; i < count; ++i) {
    CHECK(is_inside(pointers[i], repeats ? sized->strides[i] : SLACK));
  }
  if (call->workspace_bytes != 0) {
    uint8_t *workspace = pointers[count++];
    CHECK(workspace + call->workspace_bytes + SLACK <= running.memory_end);
    memset(workspace, 1, (size_t)call->workspace_bytes);
  }
  if (running.of->model.dynamic != NULL) {
    for (uint32_t i = 0; i < sized->size_count; ++i) {
      CHECK(((const int32_t *)pointers[count])[i] >= 0);
    }
  }
}

static void expand(void *x, void *a, void *sizes, int32_t lo, int32_t hi) {
  check_call(EXPAND, (void *const[]){x, a, sizes}, lo, hi);
}

static void first_sum(void *a, void *b, void *workspace, int32_t lo, int32_t hi) {
  check_call(FIRST_SUM, (void *const[]){a, b, workspace}, lo, hi);
}

static void first_scale(void *a, void *b, int32_t lo, int32_t hi) {
  check_call(FIRST_SCALE, (void *const[]){a, b}, lo, hi);
}

static void second_sum(void *a, void *b, void *workspace, void *sizes, int32_t lo,
                       int32_t hi) {
  check_call(SECOND_SUM, (void *const[]){a, b, workspace, sizes}, lo, hi);
}

static void second_scale(void *scale, void *b, int32_t lo, int32_t hi) {
  check_call(SECOND_SCALE, (void *const[]){scale, b}, lo, hi);
}

static void finish(void *b, int32_t lo, int32_t hi) {
  check_call(FINISH, (void *const[]){b}, lo, hi);
}

static ec_call call_of(ec_kernel kernel, uint32_t pointers, uint32_t items, uint32_t strip,
                       uint32_t flags) {
  return (ec_call){.kernel = kernel,
                   .pointer_count = pointers,
                   .work_items = items,
                   .operator_name = "op",
                   .schedule = "test",
                   .nodes = "node",
                   .source = "",
                   .grain_items = 1,
                   .strip = strip,
                   .strip_flags = flags};
}

static void make_tables(damage_model *out) {
  *out = (damage_model){
      .symbols = {{"n", 1, MOST, NULL, 0, 0},
                  {"n/2", 0, MOST / 2, &out->half, 0, 0},
                  {"k", 0, MOST_COUNT, NULL, 1, 0}},
      .counts = {{2, EXPAND, LIMIT, 0}}, /* the limit is a count, too */
      .terms = {{1, 1, {0}}, {1, 1, {1}}, {COLUMNS, 0, {0}}, {COLUMNS, 1, {0}}, {1, 1, {2}}},
      .half = {&out->terms[0], 1, 2},
      .items = {[EXPAND] = {&out->terms[0], 1, 1},
                [FIRST_SCALE] = {&out->terms[0], 1, 1},
                [SECOND_SUM] = {&out->terms[1], 1, 1},
                [FINISH] = {&out->terms[4], 1, 1}},
      .sizes = {{&out->terms[0], 1, 1}, {&out->terms[3], 1, 1}},
      .shape = {{&out->terms[0], 1, 1}, {&out->terms[2], 1, 1}},
      .strides = {COLUMNS * sizeof(float), COLUMNS * sizeof(float)},
      .call_tensors = {{X, A}, {A, B}, {A, B}, {A, B}, {SCALE, B}, {B}},
      .tensors = {[X] = {"x", 0, A_BYTES, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
                  [GO] = {"go", 640, 1, EC_DTYPE_BOOL, EC_STORAGE_ARENA},
                  [LIMIT] = {"limit", 768, 8, EC_DTYPE_INT64, EC_STORAGE_ARENA},
                  [ROUND] = {"round", 896, 8, EC_DTYPE_INT64, EC_STORAGE_ARENA},
                  [A] = {"a", 1024, A_BYTES, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
                  [B] = {"b", 1600, A_BYTES, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
                  [SCALE] = {"scale", 128, 64, EC_DTYPE_FLOAT32, EC_STORAGE_WEIGHTS}},
      .calls = {call_of((ec_kernel)(void (*)(void))expand, 2, MOST, 0, 0),
                call_of((ec_kernel)(void (*)(void))first_sum, 2, 4, 1, EC_STRIP_BEGINS),
                call_of((ec_kernel)(void (*)(void))first_scale, 2, 2, 1, 0),
                call_of((ec_kernel)(void (*)(void))second_sum, 2, MOST / 2, 2, EC_STRIP_SEAM),
                call_of((ec_kernel)(void (*)(void))second_scale, 2, 5, 3, EC_STRIP_MEETS),
                call_of((ec_kernel)(void (*)(void))finish, 1, MOST_COUNT, 0, 0)},
      .sized = {[EXPAND] = {&out->items[EXPAND], out->sizes, NULL, SIZES, 0},
                [FIRST_SCALE] = {&out->items[FIRST_SCALE], NULL, out->strides, 0, 0},
                [SECOND_SUM] = {&out->items[SECOND_SUM], out->sizes, NULL, 1, 0},
                [FINISH] = {&out->items[FINISH], NULL, NULL, 0, 0}},
      .regions = {{EC_REGION_LOOP, FIRST_SUM, FINISH, GO, 1, LIMIT, ROUND, 0, 4},
                  {EC_REGION_BRANCH, FINISH, CALLS, GO, 1, EC_NO_TENSOR, EC_NO_TENSOR, 0, 0}},
      .inputs = {{"x", X, EC_DTYPE_FLOAT32, 2, 0, {MOST, COLUMNS}},
                 {"go", GO, EC_DTYPE_BOOL, 0, 0, {0}},
                 {"limit", LIMIT, EC_DTYPE_INT64, 0, 0, {0}}},
      .outputs = {{"b", B, EC_DTYPE_FLOAT32, 2, 0, {MOST, COLUMNS}}},
      .input_shapes = {out->shape, NULL, NULL},
      .output_shapes = {out->shape},
  };
}

static void make(damage_model *out) {
  make_tables(out);
  for (uint32_t i = 0; i < CALLS; ++i) {
    out->calls[i].tensors = out->call_tensors[i];
  }
  out->calls[FIRST_SUM].workspace_bytes = 32;
  out->calls[SECOND_SUM].workspace_bytes = 32;
  out->calls[SECOND_SCALE].first_item = 3;
  out->dynamic = (ec_dynamic){
      out->symbols, out->sized, out->input_shapes, out->output_shapes, out->counts,
      SYMBOLS,      1};
  out->model = (ec_model){.magic = EC_MODEL_MAGIC,
                          .abi_version = EC_MODEL_ABI_VERSION,
                          .struct_bytes = sizeof(ec_model),
                          .name = "damaged",
                          .target = "any",
                          .required_features = "",
                          .tensors = out->tensors,
                          .calls = out->calls,
                          .inputs = out->inputs,
                          .outputs = out->outputs,
                          .regions = out->regions,
                          .dynamic = &out->dynamic,
                          .tensor_count = TENSORS,
                          .call_count = CALLS,
                          .input_count = 3,
                          .output_count = 1,
                          .region_count = 2,
                          .arena_bytes = 1600 + A_BYTES + SLACK,
                          .workspace_bytes = 32,
                          .weights_bytes = sizeof weights,
                          .embedded_weights = weights};
}

/* A number of the model. */
typedef struct field {
  size_t offset; /* in damage_model */
  uint32_t bytes;
  uint32_t most; /* 0, or the length of the table that it counts */
  bool is_arity; /* decides how many pointers a kernel gets: such a model does not run */
} field;

enum { MOST_FIELDS = 512 };
static field fields[MOST_FIELDS];
static uint32_t field_count;

static void add(size_t offset, size_t bytes, uint32_t most, bool is_arity) {
  CHECK(field_count < MOST_FIELDS);
  fields[field_count++] = (field){offset, (uint32_t)bytes, most, is_arity};
}

#define AT(member) offsetof(damage_model, member)
#define ADD(base, type, member, most, is_arity) \
  add((base) + offsetof(type, member), sizeof(((type *)0)->member), (most), (is_arity))
#define NUMBER(base, type, member) ADD(base, type, member, 0, false)

static void list_extent(size_t base) {
  ADD(base, ec_extent, term_count, 1, false);
  NUMBER(base, ec_extent, divisor);
}

static void list_port(size_t base) {
  NUMBER(base, ec_port, tensor);
  NUMBER(base, ec_port, dtype);
  NUMBER(base, ec_port, rank);
  NUMBER(base, ec_port, reserved);
  for (uint32_t d = 0; d < EC_MAX_RANK; ++d) {
    add(base + offsetof(ec_port, shape) + d * sizeof(int64_t), sizeof(int64_t), 0, false);
  }
}

static void list_call(size_t base) {
  ADD(base, ec_call, pointer_count, 0, true);
  NUMBER(base, ec_call, work_items);
  ADD(base, ec_call, workspace_bytes, 0, true);
  NUMBER(base, ec_call, device);
  NUMBER(base, ec_call, grain_items);
  NUMBER(base, ec_call, first_item);
  NUMBER(base, ec_call, strip);
  NUMBER(base, ec_call, strip_flags);
}

static void list_region(size_t base) {
  NUMBER(base, ec_region, kind);
  NUMBER(base, ec_region, first_call);
  NUMBER(base, ec_region, end_call);
  NUMBER(base, ec_region, condition);
  NUMBER(base, ec_region, expected);
  NUMBER(base, ec_region, limit);
  NUMBER(base, ec_region, counter);
  NUMBER(base, ec_region, reserved);
  NUMBER(base, ec_region, most_rounds);
}

static void list_dynamic(void) {
  ADD(AT(dynamic), ec_dynamic, symbol_count, SYMBOLS, false);
  ADD(AT(dynamic), ec_dynamic, count_count, 1, false);
  for (size_t i = 0; i < SYMBOLS; ++i) {
    size_t base = AT(symbols) + i * sizeof(ec_symbol);
    NUMBER(base, ec_symbol, minimum);
    NUMBER(base, ec_symbol, maximum);
    NUMBER(base, ec_symbol, is_counted);
    NUMBER(base, ec_symbol, reserved);
  }
  NUMBER(AT(counts), ec_count, symbol);
  NUMBER(AT(counts), ec_count, call);
  NUMBER(AT(counts), ec_count, tensor);
  NUMBER(AT(counts), ec_count, reserved);
  for (size_t i = 0; i < TERMS; ++i) {
    size_t base = AT(terms) + i * sizeof(ec_term);
    NUMBER(base, ec_term, factor);
    NUMBER(base, ec_term, symbol_count);
    for (size_t k = 0; k < EC_MAX_TERM_SYMBOLS; ++k) {
      add(base + offsetof(ec_term, symbols) + k * sizeof(uint32_t), sizeof(uint32_t), 0,
          false);
    }
  }
  list_extent(AT(half));
  for (size_t i = 0; i < 2; ++i) {
    list_extent(AT(sizes) + i * sizeof(ec_extent));
    list_extent(AT(shape) + i * sizeof(ec_extent));
    add(AT(strides) + i * sizeof(uint64_t), sizeof(uint64_t), 0, false);
  }
}

static void list_fields(void) {
  NUMBER(AT(model), ec_model, magic);
  NUMBER(AT(model), ec_model, abi_version);
  NUMBER(AT(model), ec_model, struct_bytes);
  NUMBER(AT(model), ec_model, arena_bytes);
  NUMBER(AT(model), ec_model, workspace_bytes);
  ADD(AT(model), ec_model, weights_bytes, sizeof weights, false);
  ADD(AT(model), ec_model, tensor_count, TENSORS, false);
  ADD(AT(model), ec_model, call_count, CALLS, false);
  ADD(AT(model), ec_model, input_count, 3, false);
  ADD(AT(model), ec_model, output_count, 1, false);
  ADD(AT(model), ec_model, region_count, 2, false);
  for (size_t i = 0; i < TENSORS; ++i) {
    size_t base = AT(tensors) + i * sizeof(ec_tensor);
    NUMBER(base, ec_tensor, offset_bytes);
    NUMBER(base, ec_tensor, bytes);
    NUMBER(base, ec_tensor, dtype);
    NUMBER(base, ec_tensor, storage);
  }
  for (size_t i = 0; i < CALLS; ++i) {
    list_call(AT(calls) + i * sizeof(ec_call));
    add(AT(call_tensors) + i * sizeof(uint32_t[EC_MAX_KERNEL_POINTERS]), sizeof(uint32_t), 0,
        false);
    ADD(AT(sized) + i * sizeof(ec_dynamic_call), ec_dynamic_call, size_count, SIZES, true);
    NUMBER(AT(sized) + i * sizeof(ec_dynamic_call), ec_dynamic_call, reserved);
    list_extent(AT(items) + i * sizeof(ec_extent));
  }
  for (size_t i = 0; i < 3; ++i) {
    list_port(AT(inputs) + i * sizeof(ec_port));
  }
  list_port(AT(outputs));
  for (size_t i = 0; i < 2; ++i) {
    list_region(AT(regions) + i * sizeof(ec_region));
  }
  list_dynamic();
}

enum { VALUES = 16 };

/* The n-th other value of a number; false where that would make a table longer. */
static bool damage(damage_model *model, const field *at, uint32_t n) {
  const uint64_t fixed[VALUES - 5] = {
      0,          1,         2,         3, 7, 64, INT32_MAX, (uint64_t)INT32_MAX + 1,
      UINT32_MAX, INT64_MAX, UINT64_MAX};
  uint8_t *place = (uint8_t *)model + at->offset;
  uint32_t low = 0;
  uint64_t old = 0;
  memcpy(at->bytes == 4 ? (void *)&low : (void *)&old, place, at->bytes);
  old = at->bytes == 4 ? low : old;
  const uint64_t near[5] = {old + 1, old - 1, 2 * old, old + 64, UINT64_MAX - old};
  uint64_t value = n < 5 ? near[n] : fixed[n - 5];
  if (at->most != 0 && value > at->most) {
    return false;
  }
  low = (uint32_t)value;
  memcpy(place, at->bytes == 4 ? (void *)&low : (void *)&value, at->bytes);
  return true;
}

/* Loops end soon, and there is memory for it. */
static bool is_runnable(const damage_model *of, uint64_t memory_bytes) {
  return memory_bytes <= MOST_MEMORY && of->regions[0].most_rounds <= 1000;
}

static void fill_inputs(ec_session *session) {
  for (uint32_t i = 0; i < running.of->model.input_count; ++i) {
    void *data = NULL;
    uint64_t bytes = 0;
    CHECK_STATUS(EC_OK, ec_session_input_data(session, i, &data, &bytes));
    CHECK(is_inside(data, bytes + SLACK));
    memset(data, 0, (size_t)bytes);
    if (bytes != 0) {
      *(uint8_t *)data = 2; /* go, and two rounds */
    }
  }
}

static void run_at(ec_session *session, int64_t n) {
  const int64_t shape[] = {n, COLUMNS};
  ec_status status = ec_session_set_input_shape(session, 0, shape, 2);
  CHECK(status == EC_OK || status == EC_ERROR_SHAPE || status == EC_ERROR_ARGUMENT);
  fill_inputs(session);
  status = ec_session_run(session);
  CHECK(status == EC_OK || status == EC_ERROR_ROUNDS || status == EC_ERROR_BRANCH ||
        status == EC_ERROR_COUNT);
  for (uint32_t i = 0; i < running.of->model.output_count; ++i) {
    const void *data = NULL;
    uint64_t bytes = 0;
    CHECK_STATUS(EC_OK, ec_session_output_data(session, i, &data, &bytes));
    CHECK(is_inside(data, bytes + SLACK));
  }
}

/* Open it in memory of just its size, and run it unless `runs` is false; false if refused. */
static bool try_model(const damage_model *of, uint32_t threads, bool runs) {
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  options.skip_hash = 1;
  uint64_t bytes = 0;
  ec_status status = ec_session_memory(&of->model, &options, &bytes);
  if (status != EC_OK || !is_runnable(of, bytes)) {
    return status == EC_OK;
  }
  void *memory = aligned_alloc(64, (size_t)bytes);
  CHECK(memory != NULL);
  ec_session *session = NULL;
  status = ec_session_init(&of->model, &options, memory, bytes, &session);
  if (status == EC_OK) {
    const void *tensor = NULL;
    running.of = of;
    running.memory_end = (const uint8_t *)memory + bytes;
    CHECK_STATUS(EC_OK, ec_session_tensor_data(session, X, &tensor, &bytes));
    running.arena = (const uint8_t *)tensor - of->tensors[X].offset_bytes;
    for (int64_t n = MOST; runs && n >= 1; n -= 3) {
      run_at(session, n);
    }
    ec_session_close(session);
  }
  free(memory);
  return status == EC_OK;
}

static void test_undamaged(void) {
  for (uint32_t threads = 1; threads <= 3; ++threads) {
    damage_model model;
    make(&model);
    CHECK(try_model(&model, threads, true));
  }
}

static void test_each_number(void) {
  uint32_t tried = 0;
  uint32_t accepted = 0;
  for (uint32_t i = 0; i < field_count; ++i) {
    for (uint32_t n = 0; n < VALUES; ++n) {
      damage_model model;
      make(&model);
      if (damage(&model, &fields[i], n)) {
        accepted += try_model(&model, 1, !fields[i].is_arity) ? 1 : 0;
        ++tried;
      }
    }
  }
  (void)printf("%u of %u models with one damage are accepted\n", accepted, tried);
  CHECK(accepted > 0 && accepted < tried / 2);
}

/* Two to four at once, chosen in the same way on every machine. */
static void test_several_numbers(void) {
  uint32_t seed = 1;
  uint32_t accepted = 0;
  const uint32_t tries = 20000;
  for (uint32_t i = 0; i < tries; ++i) {
    damage_model model;
    make(&model);
    bool runs = true;
    for (uint32_t k = 0; k < 2 + i % 3; ++k) {
      seed = seed * 1664525u + 1013904223u;
      const field *at = &fields[(seed >> 8) % field_count];
      (void)damage(&model, at, (seed >> 4) % VALUES);
      runs = runs && !at->is_arity;
    }
    accepted += try_model(&model, i % 16 == 0 ? 2 : 1, runs) ? 1 : 0;
  }
  (void)printf("%u of %u models with several damages are accepted\n", accepted, tries);
  CHECK(accepted > 0);
}

int main(void) {
  list_fields();
  test_undamaged();
  test_each_number();
  test_several_numbers();
  return 0;
}
